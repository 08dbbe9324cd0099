from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from faceup import networks, registry
from faceup.errors import ConfigError, WeightsError
from faceup.networks._common import strip_prefix
from faceup.networks.srfbn import Srfbn, SrfbnConfig, infer_config, load_srfbn
from faceup.types import Image

Golden = Callable[..., tuple[dict[str, Tensor], Tensor, Tensor]]
TINY = SrfbnConfig(channels=4, groups=2, steps=3, scale=2)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", ["srfbn_x4", "srfbn_x8"])
def test_official_outputs_are_reproduced(golden: Golden, name: str, prefix: str) -> None:
    weights, x, expected = golden(name, prefix)
    config = infer_config(strip_prefix(weights), steps=2)
    assert config == SrfbnConfig(channels=16, groups=3, steps=2, scale=int(name[-1]))
    net = load_srfbn(weights, config)
    with torch.inference_mode():
        assert (net(x) - expected).abs().max() < 1e-3
        assert (net.forward_steps(x)[-1] - expected).abs().max() < 1e-3
        assert (net(x) - expected).abs().max() < 1e-3  # A second call starts afresh.


def test_official_full_size_checkpoint_loads(key_list: Callable[[str], dict[str, Tensor]]) -> None:
    state = key_list("srfbn_x4_dataparallel")
    net = load_srfbn(state)
    assert net.config == SrfbnConfig(channels=64, groups=6, steps=4, scale=4)
    assert {"module." + k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in state.items()}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (SrfbnConfig(scale=2), 2_140_534),
        (SrfbnConfig(scale=3), 2_832_758),
        (SrfbnConfig(scale=4), 3_631_478),
        (SrfbnConfig(scale=8), 7_891_318),
        (SrfbnConfig(channels=32, groups=3), 483_146),
    ],
)
def test_parameters_at_full_size(config: SrfbnConfig, expected: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in Srfbn(config).parameters()) == expected


def test_multiply_adds_at_full_size(macs: Callable[..., int]) -> None:
    with torch.device("meta"):
        net = Srfbn().eval()
    every = macs(net.forward_steps, 1, 3, 42, 56)
    assert round(every / 1e9, 3) == 45.788
    # forward leaves out three of the four reconstructions: a deconvolution at LR, a convolution and shifts at HR.
    lr, hr = 42 * 56, 42 * 56 * 16
    assert every - macs(net, 1, 3, 42, 56) == 3 * (lr * 64 * 64 * 8 * 8 + hr * 64 * 3 * 9 + (lr + hr) * 9)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.sampled_from([2, 3, 4, 8]))
def test_shape_is_read_from_tensors(channels: int, groups: int, steps: int, scale: int) -> None:
    config = SrfbnConfig(channels, groups, steps, scale)
    net = Srfbn(config)
    assert infer_config(net.state_dict(), steps=steps) == config
    assert net(torch.zeros(2, 3, 3, 5)).shape == (2, 3, 3 * scale, 5 * scale)


def test_calls_are_independent_and_steps_are_a_prefix() -> None:
    torch.manual_seed(0)
    net = Srfbn(TINY).eval()
    first, second = torch.rand(2, 1, 3, 4, 5) * 255
    with torch.inference_mode():
        alone = net(second)
        steps = net.forward_steps(first)
        assert torch.equal(net(second), alone)
        assert len(steps) == 3
        assert torch.equal(net(first), steps[-1])
        assert not torch.equal(steps[0], steps[1])
        shorter = load_srfbn(net.state_dict(), SrfbnConfig(4, 2, 2, 2))
        for got, want in zip(shorter.forward_steps(first), steps[:2], strict=True):
            assert torch.equal(got, want)


def test_forward_makes_one_picture_only() -> None:
    net = Srfbn(TINY).eval()
    calls: list[int] = []
    net.out.register_forward_hook(lambda *_: calls.append(1))
    net(torch.zeros(1, 3, 4, 4))
    assert len(calls) == 1
    net.forward_steps(torch.zeros(1, 3, 4, 4))
    assert len(calls) == 1 + 3


def test_start_weights() -> None:
    torch.manual_seed(0)
    net = Srfbn(SrfbnConfig(channels=32, groups=2))
    deconv = net.out[0]
    assert isinstance(deconv, nn.ConvTranspose2d)
    assert deconv.weight.std().item() == pytest.approx((2 / (32 * 64)) ** 0.5, rel=0.05)
    assert deconv.bias is not None
    assert deconv.bias.abs().max() == 0
    slopes = torch.cat([m.weight.detach() for m in net.modules() if isinstance(m, nn.PReLU)])
    assert set(slopes.tolist()) == {torch.tensor(0.2).item()}
    assert net.add_mean.bias is not None
    np.testing.assert_allclose(net.add_mean.bias.numpy() / 255, [0.4488, 0.4371, 0.4040], rtol=1e-6)


def test_damaged_and_foreign_weights_are_refused() -> None:
    state = Srfbn(TINY).state_dict()
    with pytest.raises(WeightsError, match=r"not the weights of an SRFBN.*out\.0\.weight"):
        load_srfbn({k: v for k, v in state.items() if k != "out.0.weight"})
    with pytest.raises(WeightsError, match="not the weights"):
        load_srfbn({**state, "out.0.weight": torch.zeros(4, 4, 5, 5)})
    with pytest.raises(WeightsError, match=r"block\.compress_in\.1\.weight"):
        load_srfbn({k: v for k, v in state.items() if k != "block.compress_in.1.weight"})
    with pytest.raises(WeightsError, match="do not fit"):
        load_srfbn(state, SrfbnConfig(4, 3, 3, 2))


@pytest.mark.parametrize("options", [{"scale": 5}, {"groups": 0}, {"steps": 0}, {"channels": 0}])
def test_impossible_shapes_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="SRFBN"):
        SrfbnConfig(**options)


@pytest.mark.parametrize("all_steps", [True, False])
def test_two_training_steps(train_two_steps: Callable[..., None], all_steps: bool) -> None:
    torch.manual_seed(0)
    net = networks.build("srfbn", {"channels": 4, "groups": 2, "steps": 2}, 2)
    assert isinstance(net, Srfbn)
    train_two_steps(net, 2, net.forward_steps if all_steps else None)


def test_backend(save_weights: Callable[..., Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Srfbn(TINY).eval()
    picture = Image(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    x = torch.from_numpy(picture.pixels.transpose(2, 0, 1).copy())[None].float()
    file = save_weights(tmp_path / "a.safetensors", net, TINY.as_dict())
    backend = registry.build("sr", "srfbn", registry.Options(scale=2, weights=file))
    with torch.inference_mode():
        expected = net(x)[0].clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
    np.testing.assert_array_equal(backend.upscale([picture])[0].pixels, expected)
    with pytest.raises(ConfigError, match=r"No SRFBN weights for x2 are shipped .*--sr srfbn:FILE.*faceup train"):
        registry.build("sr", "srfbn", registry.Options(scale=2))
    with pytest.raises(ConfigError, match=r"a\.safetensors enlarges 2 times, the recipe asks for 4"):
        registry.build("sr", "srfbn", registry.Options(weights=file))
