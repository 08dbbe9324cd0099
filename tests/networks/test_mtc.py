"""MTC against loops; nothing was published that its outputs could be compared with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from faceup import networks, registry
from faceup.errors import ConfigError, WeightsError
from faceup.images import read_image
from faceup.networks.mtc import Mtc, MtcConfig, TextureAttention, load_mtc
from faceup.types import Image
from faceup.weights import store

TINY = MtcConfig(extractor=1, groups=1, blocks=1, channels=8, reduction=2, scale=2)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    result: np.ndarray = powers / powers.sum()
    return result


def test_texture_attention_against_loops() -> None:
    torch.manual_seed(0)
    layer = TextureAttention(4).double().eval()
    fixed, other = torch.randn(2, 1, 4, 3, 5, dtype=torch.float64)
    near, far = layer.shared(fixed), layer.shared(other)
    q_near, q_far = layer.query(near)[0].detach().numpy(), layer.query(far)[0].detach().numpy()
    k_near, k_far = layer.key(near)[0].detach().numpy(), layer.key(far)[0].detach().numpy()
    value = layer.value(other)[0].detach().numpy()
    texture, mass = np.zeros((4, 3, 5)), np.zeros((1, 3, 5))
    for row in range(3):
        for x in range(5):
            weights = softmax(np.array([q_near[:, row, x] @ k_far[:, row, there] for there in range(5)]) / 2)
            texture[:, row, x] = sum(weights[there] * value[:, row, there] for there in range(5))
            back = softmax(np.array([q_far[:, row, x] @ k_near[:, row, there] for there in range(5)]) / 2)
            mass[0, row] += back
    stacked = torch.from_numpy(np.concatenate((texture, fixed[0].numpy(), np.minimum(mass, 1))))[None]
    torch.testing.assert_close(layer(fixed, other), layer.fuse(stacked) + fixed)


def test_the_second_view_of_one_picture_is_its_mirror_image() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 6, 9) * 255
    mirror, itself = Mtc(TINY).eval(), Mtc(MtcConfig(**{**TINY.as_dict(), "view": "self"})).eval()
    itself.load_state_dict(mirror.state_dict())
    with torch.inference_mode():
        torch.testing.assert_close(mirror(x), mirror(x, x.flip(3)))
        torch.testing.assert_close(itself(x), mirror(x, x))
        assert not torch.allclose(mirror(x), itself(x))


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_bicubic_skip_is_pillows_enlargement(
    scale: int, bicubic_skip: Callable[[nn.Module, nn.Module, int], None]
) -> None:
    net = Mtc(MtcConfig(**{**TINY.as_dict(), "scale": scale, "skip": "bicubic"}))
    bicubic_skip(net, net.tail[1], scale)


@pytest.mark.parametrize("skip", ["none", "bicubic"])
def test_two_training_steps(train_two_steps: Callable[..., None], skip: str) -> None:
    torch.manual_seed(0)
    options = {key: value for key, value in TINY.as_dict().items() if key != "scale"}
    train_two_steps(networks.build("mtc", {**options, "skip": skip}, 2), 2)


def test_weights_without_their_options_are_refused() -> None:
    state = Mtc(TINY).state_dict()
    assert not load_mtc(state, TINY).training
    with pytest.raises(WeightsError, match="options of the network are missing"):
        load_mtc(state)
    with pytest.raises(WeightsError, match="do not fit"):
        load_mtc(state, MtcConfig(**{**TINY.as_dict(), "groups": 2}))


@pytest.mark.parametrize(
    "change", [{"scale": 5}, {"groups": 0}, {"channels": 1}, {"view": "left"}, {"skip": "nearest"}]
)
def test_impossible_shapes_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="MTC"):
        MtcConfig(**{**TINY.as_dict(), **change})


def test_backend_runs_a_file(save_weights: Callable[..., Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Mtc(TINY).eval()
    picture = Image(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    file = save_weights(tmp_path / "own.safetensors", net, net.config.as_dict())
    backend = registry.build("sr", "mtc", registry.Options(scale=2, weights=file))
    x = torch.from_numpy(picture.pixels.transpose(2, 0, 1).copy())[None].float()
    with torch.inference_mode():
        expected = net(x)[0].clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(backend.upscale([picture])[0].pixels, expected)


def test_half_precision_gives_the_pictures_of_single_precision(examples: Path) -> None:
    """Scores of the shipped network reach a million, which half precision cannot hold."""
    loaded = store.load("mtc-x4")
    net = load_mtc(loaded.tensors, MtcConfig(**json.loads(loaded.metadata["options"])))
    pixels = read_image(examples / "probes" / "hopper_cam1_paper.jpg").pixels[:24, :24]
    x = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].float()
    features = net.extractor(net.sub_mean(x))
    with torch.inference_mode():
        attention = net.attention
        near = attention.shared(features)
        scores = attention.query(near).permute(0, 2, 3, 1) @ attention.key(near).permute(0, 2, 1, 3)
        assert float(scores.abs().max()) > 65504, "nothing would be shown"
        single = attention(features, features.flip(3))
        half = attention.half()(features.half(), features.flip(3).half()).float()
    assert torch.isfinite(half).all()
    assert float((half - single).abs().max()) < 0.01 * float(single.abs().max())
