from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from faceup import networks, registry
from faceup.errors import ConfigError, WeightsError
from faceup.networks.rcan import ChannelAttention, Rcan, RcanConfig, infer_config, load_rcan
from faceup.types import Image

Golden = Callable[..., tuple[dict[str, Tensor], Tensor, Tensor]]
TINY = RcanConfig(groups=1, blocks=1, channels=8, reduction=2, scale=2)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", ["rcan_x4", "rcan_x8"])
def test_official_outputs_are_reproduced(golden: Golden, name: str, prefix: str) -> None:
    weights, x, expected = golden(name, prefix)
    net = load_rcan(weights)
    assert net.config == RcanConfig(groups=2, blocks=3, channels=16, reduction=4, scale=int(name[-1]))
    with torch.inference_mode():
        assert (net(x) - expected).abs().max() < 1e-3


def test_official_full_size_checkpoint_loads(key_list: Callable[[str], dict[str, Tensor]]) -> None:
    state = key_list("rcan_x4")
    net = load_rcan(state)
    assert net.config == RcanConfig()
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in state.items()}
    assert not net.training


@pytest.mark.parametrize(("scale", "expected"), [(2, 15_444_667), (3, 15_629_307), (4, 15_592_379), (8, 15_740_091)])
def test_parameters_at_full_size(scale: int, expected: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in Rcan(RcanConfig(scale=scale)).parameters()) == expected


def test_multiply_adds_at_full_size(macs: Callable[..., int]) -> None:
    with torch.device("meta"):
        net = Rcan().eval()
    assert round(macs(net, 1, 3, 42, 56) / 1e9, 3) == 37.439


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 12), st.integers(1, 4), st.sampled_from([2, 3, 4, 8]))
def test_shape_is_read_from_tensors(groups: int, blocks: int, channels: int, reduction: int, scale: int) -> None:
    config = RcanConfig(groups, blocks, max(channels, reduction), reduction, scale)
    state = Rcan(config).state_dict()
    again = Rcan(infer_config(state)).state_dict()
    assert {k: v.shape for k, v in state.items()} == {k: v.shape for k, v in again.items()}
    # Several reductions may round to the same network; everything else is told.
    assert infer_config(state) == replace(config, reduction=infer_config(state).reduction)


def test_channel_attention_against_loops() -> None:
    torch.manual_seed(0)
    layer = ChannelAttention(6, 3)
    x = torch.randn(2, 6, 3, 4)
    w1, w2 = layer.conv_du[0], layer.conv_du[2]
    assert isinstance(w1, nn.Conv2d)
    assert isinstance(w2, nn.Conv2d)
    a, b = w1.weight.detach().numpy()[:, :, 0, 0], w2.weight.detach().numpy()[:, :, 0, 0]
    assert w1.bias is not None
    assert w2.bias is not None
    for n in range(2):
        mean = np.array([x[n, c].mean().item() for c in range(6)])
        hidden = np.maximum(a @ mean + w1.bias.detach().numpy(), 0)
        weight = 1 / (1 + np.exp(-(b @ hidden + w2.bias.detach().numpy())))
        for c in range(6):
            torch.testing.assert_close(layer(x)[n, c], x[n, c] * float(weight[c]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_bicubic_skip_is_pillows_enlargement(
    scale: int, bicubic_skip: Callable[[nn.Module, nn.Module, int], None]
) -> None:
    net = Rcan(RcanConfig(1, 1, 8, 2, scale, skip="bicubic"))
    bicubic_skip(net, net.tail[1], scale)


def test_damaged_and_foreign_weights_are_refused() -> None:
    state = Rcan(TINY).state_dict()
    with pytest.raises(WeightsError, match=r"not the weights of an RCAN.*head\.0\.weight"):
        load_rcan({"head.1.weight" if k == "head.0.weight" else k: v for k, v in state.items()})
    with pytest.raises(WeightsError, match=r"body\.1\.bias"):
        load_rcan({k: v for k, v in state.items() if k != "body.1.bias"})
    with pytest.raises(WeightsError, match="do not fit"):
        load_rcan(state, RcanConfig(groups=2, blocks=1, channels=8, reduction=2, scale=2))
    with pytest.raises(WeightsError, match="not the weights"):
        load_rcan({**state, "tail.0.0.weight": torch.zeros(8 * 25, 8, 3, 3)})
    with pytest.raises(WeightsError, match="not the weights"):
        load_rcan({**state, "head.0.weight": torch.zeros(())})


@pytest.mark.parametrize(
    "options", [{"scale": 5}, {"groups": 0}, {"channels": 8, "reduction": 16}, {"skip": "bilinear"}]
)
def test_impossible_shapes_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="RCAN"):
        RcanConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("skip", ["none", "bicubic"])
def test_two_training_steps(train_two_steps: Callable[..., None], skip: str) -> None:
    torch.manual_seed(0)
    net = networks.build("rcan", {"groups": 1, "blocks": 2, "channels": 8, "reduction": 2, "skip": skip}, 2)
    train_two_steps(net, 2)


def test_backend_runs_a_file_with_and_without_options(save_weights: Callable[..., Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Rcan(RcanConfig(1, 1, 8, 2, 2, skip="bicubic")).eval()
    picture = Image(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    x = torch.from_numpy(picture.pixels.transpose(2, 0, 1).copy())[None].float()
    file = save_weights(tmp_path / "own.safetensors", net, net.config.as_dict())
    backend = registry.build("sr", "rcan", registry.Options(scale=2, weights=file))
    with torch.inference_mode():
        expected = net(x)[0].clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(backend.upscale([picture])[0].pixels, expected)
    plain = save_weights(tmp_path / "plain.safetensors", net)
    backend = registry.build("sr", "rcan", registry.Options(scale=2, weights=plain))
    assert not np.array_equal(backend.upscale([picture])[0].pixels, expected)  # The skip is only known by the options.


def test_backend_says_what_is_wrong(save_weights: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No RCAN weights for x2 are shipped .*--sr rcan:FILE.*faceup train"):
        registry.build("sr", "rcan", registry.Options(scale=2))
    file = save_weights(tmp_path / "a.safetensors", Rcan(TINY))
    with pytest.raises(ConfigError, match=r"a\.safetensors enlarges 2 times, the recipe asks for 4"):
        registry.build("sr", "rcan", registry.Options(weights=file))
    with pytest.raises(ConfigError, match="setting of rcan"):
        registry.build("sr", "rcan", registry.Options(weights=file, extra={"tile": 3}))
    other = save_weights(tmp_path / "b.safetensors", Rcan(TINY), {"blocks": 1, "radix": 4})
    with pytest.raises(WeightsError, match=r"b\.safetensors: its options are not RCAN's"):
        registry.build("sr", "rcan", registry.Options(weights=other))
    foreign = save_weights(tmp_path / "c.safetensors", nn.Linear(2, 2))
    with pytest.raises(WeightsError, match=r"c\.safetensors: These are not the weights of an RCAN"):
        registry.build("sr", "rcan", registry.Options(weights=foreign))
