"""spandrel's networks as backends: small ones of its own, saved to a file with random weights."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from faceup.errors import ConfigError, WeightsError
from faceup.registry import Options, build
from faceup.types import Image
from tests.contracts import check_sr
from tests.helpers import noise

pytest.importorskip("spandrel", reason="the package spandrel is not installed (extra: spandrel)")


def rcan(**changes: Any) -> nn.Module:
    from spandrel.architectures.RCAN import RCAN

    return RCAN(**{"scale": 4, "n_resgroups": 1, "n_resblocks": 2, "n_feats": 8, "reduction": 4, **changes})


def compact(**changes: Any) -> nn.Module:
    from spandrel.architectures.Compact import Compact

    return Compact(**{"num_feat": 8, "num_conv": 2, "upscale": 2, **changes})


def swinir() -> nn.Module:
    """Takes nothing below 16 px and works in windows of 8."""
    from spandrel.architectures.SwinIR import SwinIR

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SwinIR(
            upscale=2, in_chans=3, img_size=64, window_size=8, depths=[2], embed_dim=12, num_heads=[2], mlp_ratio=2,
            upsampler="pixelshuffledirect", resi_connection="1conv",
        )  # fmt: skip


def saved(net: nn.Module, path: Path) -> Path:
    save_file({key: value.contiguous() for key, value in net.state_dict().items()}, path)
    return path


def build_file(path: Path, scale: int) -> Any:
    return build("sr", "spandrel", Options(scale=scale, weights=path))


@pytest.mark.parametrize(("make", "scale"), [(rcan, 4), (compact, 2), (swinir, 2)])
def test_contract_and_pixels(make: Any, scale: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = make().eval()
    backend = build_file(saved(net, tmp_path / "net.safetensors"), scale)
    check_sr(backend)
    image = noise(24, 16)
    (out,) = backend.upscale([image])
    with torch.inference_mode():
        x = torch.from_numpy(image.pixels.copy()).permute(2, 0, 1)[None].float() / 255
        direct = net(x)[0].clamp(0, 1).permute(1, 2, 0).numpy() * 255
    assert np.abs(out.pixels - direct).max() <= 0.51
    assert np.ptp(out.pixels) > 10


def test_a_torch_checkpoint_in_its_wrapping(tmp_path: Path) -> None:
    net = compact()
    state = {f"module.{key}": value for key, value in net.state_dict().items()}
    torch.save({"params-ema": state, "epoch": 3}, tmp_path / "net.pth")
    plain = build_file(saved(net, tmp_path / "net.safetensors"), 2)
    wrapped = build_file(tmp_path / "net.pth", 2)
    image = noise(9, 7)
    np.testing.assert_array_equal(wrapped.upscale([image])[0].pixels, plain.upscale([image])[0].pixels)


def test_the_callers_tensor_is_left_alone_though_rcan_multiplies_in_place(tmp_path: Path) -> None:
    backend = build_file(saved(rcan(), tmp_path / "net.safetensors"), 4)
    x = torch.full((1, 3, 6, 5), 100.0)
    inside = backend.net._descriptor
    given = x / 255
    inside(given)
    assert given.max() > 50, "spandrel's RCAN no longer multiplies its input: the guard can go"
    backend.net(x)
    assert torch.equal(x, torch.full((1, 3, 6, 5), 100.0))


def test_small_pictures_are_padded_and_cut(tmp_path: Path) -> None:
    """As it would be by hand: mirrored as far as there are pixels, then the edge repeated, to 16 px; then cut."""
    torch.manual_seed(0)
    net = swinir().eval()
    backend = build_file(saved(net, tmp_path / "net.safetensors"), 2)
    image = noise(10, 5)
    (out,) = backend.upscale([image])
    padded = np.pad(np.pad(image.pixels, ((0, 4), (0, 6), (0, 0)), "reflect"), ((0, 7), (0, 0), (0, 0)), "edge")
    assert padded.shape == (16, 16, 3)
    (whole,) = backend.upscale([Image(padded)])
    np.testing.assert_array_equal(out.pixels, whole.pixels[:10, :20])


def test_a_cutblur_rcan_is_refused(tmp_path: Path) -> None:
    """spandrel takes it for an RCAN of scale 1 and would reorder its channels wrongly."""
    path = saved(rcan(scale=1, unshuffle_mod=True), tmp_path / "cutblur.safetensors")
    from safetensors.torch import load_file

    assert load_file(path)["head.1.weight"].shape[1] == 48
    for scale in (1, 4):
        with pytest.raises(
            WeightsError, match=r"cutblur\.safetensors: an RCAN that starts by moving blocks into channels"
        ):
            build_file(path, scale)


def test_what_it_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(compact(), tmp_path / "net.safetensors")
    with pytest.raises(ConfigError, match=r"net\.safetensors enlarges 2 times, the recipe asks for 4"):
        build_file(path, 4)
    with pytest.raises(ConfigError, match="give a file, --sr spandrel:FILE"):
        build("sr", "spandrel", Options())
    grey = saved(compact(num_in_ch=1, num_out_ch=1), tmp_path / "grey.safetensors")
    with pytest.raises(WeightsError, match="maps 1 to 1 channels, not RGB"):
        build_file(grey, 2)
    same = saved(compact(upscale=1), tmp_path / "same.safetensors")
    with pytest.raises(WeightsError, match="for Restoration, not for super-resolution"):
        build_file(same, 1)
    other = saved(nn.Conv2d(3, 3, 3), tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=r"other\.safetensors: of no architecture that spandrel knows"):
        build_file(other, 2)
    state = {key: value for key, value in compact().state_dict().items() if key != "body.2.weight"}
    save_file(state, tmp_path / "part.safetensors")
    with pytest.raises(WeightsError, match=r"part\.safetensors: "):
        build_file(tmp_path / "part.safetensors", 2)
    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(ConfigError, match=r"pip install 'faceup\[spandrel\]'"):
        build_file(path, 2)
