from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PilImage
from torch import Tensor, nn

from faceup import networks, registry
from faceup.errors import ConfigError, WeightsError
from faceup.networks.sparnet import ConvLayer, Hourglass, Sparnet, SparnetConfig, enlarge, infer_config, load_sparnet
from faceup.types import Image

Golden = Callable[..., tuple[dict[str, Tensor], Tensor, Tensor]]
TINY = SparnetConfig(min_channels=2, max_channels=4, halvings=2, blocks=1, hourglass=1, attention_channels=2, scale=4)
LIGHT = SparnetConfig(blocks=1, attention="spar3d")


def tiny(scale: int = 4) -> Sparnet:
    torch.manual_seed(0)
    net = Sparnet(SparnetConfig(**{**TINY.as_dict(), "scale": scale})).eval()
    nn.init.normal_(net.out_conv.conv2d.weight)
    return net


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tensor(pixels: np.ndarray) -> Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].float()


@pytest.mark.parametrize("prefix", ["", "module."])
def test_official_outputs_are_reproduced(golden: Golden, prefix: str) -> None:
    weights, x, expected = golden("sparnet", prefix)
    net = load_sparnet(weights)
    assert net.config == SparnetConfig(min_channels=8, max_channels=16, halvings=1, blocks=3, hourglass=4)
    with torch.inference_mode():
        assert (net.core(x) - expected).abs().max() < 1e-5


def test_official_full_size_checkpoint_loads(key_list: Callable[[str], dict[str, Tensor]]) -> None:
    state = key_list("sparnet_v16_s4_attn2d")
    net = load_sparnet(state, scale=8)
    assert net.config == SparnetConfig(scale=8)
    assert {k: v.shape for k, v in net.state_dict().items()} == {k: v.shape for k, v in state.items()}


@pytest.mark.parametrize(("config", "expected"), [(SparnetConfig(), 10_518_867), (LIGHT, 5_242_211)])
def test_parameters_at_full_size(config: SparnetConfig, expected: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in Sparnet(config).parameters()) == expected


def test_multiply_adds_at_full_size(macs: Callable[..., int]) -> None:
    with torch.device("meta"):
        net = Sparnet().eval()
    assert round(macs(net.core, 1, 3, 168, 224) / 1e9, 3) == 16.423


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 4), st.integers(0, 2), st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(2, 3),
    st.sampled_from(["spar", "spar3d"]), st.integers(1, 8),
)  # fmt: skip
def test_shape_is_read_from_tensors(
    low: int, more: int, halvings: int, blocks: int, hourglass: int, mid: int, attention: str, scale: int
) -> None:
    top = min(low + more, low * 2**halvings)
    config = SparnetConfig(low, top, halvings, blocks, hourglass, mid, attention, scale)
    found = infer_config(Sparnet(config).state_dict(), scale=scale)
    # With one channel the two kinds of attention are the same network.
    assert found == (SparnetConfig(low, top, halvings, blocks, hourglass, mid, "spar", scale) if top == 1 else config)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 8), st.integers(0, 2**16))
def test_enlargement_is_pillows(height: int, width: int, scale: int, seed: int) -> None:
    pixels = picture(height, width, seed)
    out = enlarge(tensor(pixels), scale)[0].permute(1, 2, 0).numpy()
    size = (width * scale, height * scale)
    expected = np.asarray(PilImage.fromarray(pixels).resize(size, PilImage.Resampling.BICUBIC)).astype(np.float32)
    difference = np.abs(out - expected)
    assert difference.max() <= 2
    assert (difference > 0).sum() <= 2 + 0.05 * difference.size


def test_enlargement_rarely_differs_from_pillows() -> None:
    pixels = picture(64, 64)
    for scale, share in ((2, 0.002), (4, 0.001), (8, 0.0001)):
        expected = PilImage.fromarray(pixels).resize((64 * scale, 64 * scale), PilImage.Resampling.BICUBIC)
        out = enlarge(tensor(pixels), scale)[0].permute(1, 2, 0).numpy()
        assert (out != np.asarray(expected)).mean() < share


@pytest.mark.parametrize(("halvings", "hourglass"), [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2)])
def test_padded_side_is_the_smallest_that_the_core_takes(halvings: int, hourglass: int) -> None:
    config = SparnetConfig(1, 1, halvings, 1, hourglass, 1)
    net = Sparnet(config).eval()

    def works(side: int) -> bool:
        x = torch.zeros(1, 3, side, config.padded(1))
        try:
            with torch.inference_mode():
                return net.core(x).shape == x.shape
        except RuntimeError:
            return False

    sides = range(1, config.padded(1) + 2 * 2**halvings + 1)
    good = [side for side in sides if works(side)]
    for side in sides:
        assert config.padded(side) == min(g for g in good if g >= side)


def test_call_is_the_core_on_the_enlarged_picture() -> None:
    net, pixels = tiny(), picture(4, 5)  # 16 x 20 needs no padding.
    big = PilImage.fromarray(pixels).resize((20, 16), PilImage.Resampling.BICUBIC)
    with torch.inference_mode():
        expected = net.core((tensor(np.asarray(big)) / 255 - 0.5) / 0.5)
        torch.testing.assert_close(net(tensor(pixels)), (expected / 2 + 0.5) * 255, rtol=0, atol=0.5)


def test_padding_replicates_right_and_below_and_is_cut_off() -> None:
    net, pixels = tiny(scale=2), picture(5, 9)  # 10 x 18 is padded to 12 x 20.
    with torch.inference_mode():
        big = enlarge(tensor(pixels), 2)[0].permute(1, 2, 0).numpy()
        padded = np.pad(big, ((0, 2), (0, 2), (0, 0)), mode="edge")
        expected = net.core(tensor(padded) / 127.5 - 1)[:, :, :10, :18]
        torch.testing.assert_close(net(tensor(pixels)), (expected + 1) * 127.5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 2, 3, 4, 8]))
def test_any_size_is_taken(height: int, width: int, scale: int) -> None:
    with torch.inference_mode():
        out = tiny(scale)(tensor(picture(height, width)))
    assert out.shape == (1, 3, height * scale, width * scale)
    assert out.isfinite().all()


@pytest.mark.parametrize(("attention", "maps"), [("spar", 1), ("spar3d", 6)])
def test_attention_weighs_between_0_and_1(attention: str, maps: int) -> None:
    torch.manual_seed(0)
    config = SparnetConfig(min_channels=6, max_channels=6, attention_channels=4, attention=attention)
    layer = Hourglass(6, 2, config)
    last = layer.out_block[0]
    assert isinstance(last, ConvLayer)
    nn.init.normal_(last.conv2d.weight, std=0.2)
    with torch.no_grad():
        x = torch.rand(2, 6, 9, 11) + 1
        ratio = layer(x) / x
    assert ratio.min() > 0
    assert ratio.max() < 1
    assert (ratio.std(dim=1).max() < 1e-5) == (maps == 1)
    assert last.conv2d.weight.shape[0] == maps


def test_start_weights() -> None:
    torch.manual_seed(0)
    net = Sparnet(SparnetConfig(blocks=1))
    assert net.get_parameter("res_layers.0.conv1.conv2d.weight").std().item() == pytest.approx(0.02, rel=0.02)
    scales = torch.cat([m.weight.detach() for m in net.modules() if isinstance(m, nn.BatchNorm2d)])
    assert (scales.mean().item(), scales.std().item()) == pytest.approx((1, 0.02), rel=0.05)


def test_damaged_and_foreign_weights_are_refused() -> None:
    state = Sparnet(TINY).state_dict()
    with pytest.raises(WeightsError, match=r"not the weights of a SPARNet.*encoder\.0\.conv2d\.weight"):
        load_sparnet({k: v for k, v in state.items() if k != "encoder.0.conv2d.weight"})
    with pytest.raises(WeightsError, match=r"out_conv\.conv2d\.bias"):
        load_sparnet({k: v for k, v in state.items() if k != "out_conv.conv2d.bias"})
    with pytest.raises(WeightsError, match="SPARNetHD"):
        load_sparnet({k.replace("conv2d.weight", "conv2d.weight_orig"): v for k, v in state.items()})
    with pytest.raises(WeightsError, match="do not fit"):
        load_sparnet(state, SparnetConfig(**{**TINY.as_dict(), "blocks": 2}))


@pytest.mark.parametrize(
    "options", [{"scale": 0}, {"halvings": 0}, {"blocks": 0}, {"max_channels": 16}, {"attention": "both"}]
)
def test_impossible_shapes_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="SPARNet"):
        SparnetConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("attention", ["spar", "spar3d"])
def test_two_training_steps(train_two_steps: Callable[..., None], attention: str) -> None:
    torch.manual_seed(0)
    options = {k: v for k, v in TINY.as_dict().items() if k != "scale"}
    train_two_steps(networks.build("sparnet", {**options, "attention": attention}, 2), 2)


def test_backend(save_weights: Callable[..., Path], tmp_path: Path) -> None:
    net, pixels = tiny(scale=2), picture(5, 7)
    with torch.inference_mode():
        expected = net(tensor(pixels))[0].clamp(0, 255).round().byte().permute(1, 2, 0).numpy()
    file = save_weights(tmp_path / "a.safetensors", net, net.config.as_dict())
    official = save_weights(tmp_path / "b.safetensors", net)
    for weights in (file, official):
        backend = registry.build("sr", "sparnet", registry.Options(scale=2, weights=weights))
        np.testing.assert_array_equal(backend.upscale([Image(pixels)])[0].pixels, expected)
    with pytest.raises(ConfigError, match=r"a\.safetensors enlarges 2 times, the recipe asks for 4"):
        registry.build("sr", "sparnet", registry.Options(weights=file))
    assert registry.build("sr", "sparnet", registry.Options(scale=8, weights=official)).scale == 8
    with pytest.raises(ConfigError, match=r"No SPARNet weights for x2 are shipped .*--sr sparnet:FILE.*faceup train"):
        registry.build("sr", "sparnet", registry.Options(scale=2))
