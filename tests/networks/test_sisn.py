from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from faceup import networks, registry
from faceup.errors import ConfigError, WeightsError
from faceup.networks._common import strip_prefix
from faceup.networks.sisn import Sisn, SisnConfig, SplitAttention, fold_head, fold_norms, infer_config, load_sisn
from faceup.types import Image

Golden = Callable[..., tuple[dict[str, Tensor], Tensor, Tensor]]
TINY = SisnConfig(groups=1, blocks=1, channels=8, radix=2, scale=2)
# The ablations (structure, detail) with their parameters at x4: those of the public code less the unused
# `skip` convolutions, 4,096 in each ISAB.
ABLATIONS = [
    ({}, 8_524_379 - 110 * 4096),
    ({"structure": "none"}, 7_815_899 - 100 * 4096),
    ({"structure": "identity"}, 7_815_899 - 100 * 4096),
    ({"structure": "isa"}, 8_398_939 - 100 * 4096),
    ({"detail": "none"}, 2_693_979 - 110 * 4096),
    ({"detail": "conv3x3"}, 6_393_179 - 110 * 4096),
    ({"head": "direct"}, 8_524_379 - 110 * 4096 - 64 * 9 * 45),
    ({"skip": "bicubic"}, 8_524_379 - 110 * 4096),
    ({"groups": 5}, 4_443_099 - 55 * 4096),
    ({"groups": 20}, 16_686_939 - 220 * 4096),
    ({"blocks": 5}, 4_981_979 - 60 * 4096),
    ({"scale": 2}, 8_355_931 - 110 * 4096),
    ({"scale": 8}, 8_755_035 - 110 * 4096),
]


def settle(net: Sisn, seed: int = 0) -> Sisn:
    """Give the batch norms statistics and scales that are not those of a fresh network."""
    generator = torch.Generator().manual_seed(seed)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.copy_(torch.randn(layer.num_features, generator=generator) * 0.1)
            layer.running_var.copy_(torch.rand(layer.num_features, generator=generator) + 0.5)
    return net.eval()


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("name", ["sisn_x2", "sisn_x4", "sisn_x8"])
def test_official_outputs_are_reproduced(golden: Golden, name: str, prefix: str) -> None:
    weights, x, expected = golden(name, prefix)
    assert any(key.endswith(".skip.weight") for key in weights)
    net = load_sisn(weights)
    assert net.config == SisnConfig(groups=2, blocks=2, channels=16, radix=4, scale=int(name[-1]))
    with torch.inference_mode():
        assert (net(x) - expected).abs().max() < 1e-3
        fold_head(net)
        assert net.config.head == "direct"
        assert (net(x) - expected).abs().max() < 1e-3


@pytest.mark.parametrize("scale", [4, 8])
def test_official_full_size_checkpoint_loads(key_list: Callable[[str], dict[str, Tensor]], scale: int) -> None:
    state = key_list(f"sisn_x{scale}_dataparallel")
    net = load_sisn(state)
    assert net.config == SisnConfig(scale=scale)
    used = {key.removeprefix("module."): value.shape for key, value in state.items() if ".skip." not in key}
    assert {key: value.shape for key, value in net.state_dict().items()} == used
    assert len(state) - len(used) == 110


@pytest.mark.parametrize(("options", "expected"), ABLATIONS)
def test_parameters_at_full_size(options: dict[str, Any], expected: int) -> None:
    config = SisnConfig(**options)
    with torch.device("meta"):
        assert sum(p.numel() for p in Sisn(config).parameters()) == expected


def test_multiply_adds_at_full_size(macs: Callable[..., int]) -> None:
    with torch.device("meta"):
        net = Sisn().eval()
    # The public code shifts the mean of the enlarged picture, this one of the LR picture: 9 a pixel less.
    assert macs(net, 1, 3, 42, 56) == 14_477_702_656 - 9 * (168 * 224 - 42 * 56)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_head_sees_nearest_enlargement_with_blocks_moved_to_channels(scale: int) -> None:
    net = Sisn(replace(TINY, scale=scale)).eval()
    nn.init.zeros_(net.sub_mean.bias)  # type: ignore[arg-type]
    seen: list[Tensor] = []
    net.head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.rand(2, 3, 3, 4) * 255
    net(x)
    enlarged = x.numpy().repeat(scale, axis=2).repeat(scale, axis=3)
    expected = np.empty((2, 3 * scale * scale, 3, 4), np.float32)
    for row in range(scale):
        for column in range(scale):
            for colour in range(3):
                for i in range(3):
                    for j in range(4):
                        value = enlarged[:, colour, i * scale + row, j * scale + column]
                        expected[:, (row * scale + column) * 3 + colour, i, j] = value
    np.testing.assert_allclose(seen[0].numpy(), expected, rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(st.sampled_from([2, 4, 8]), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_folded_head_gives_the_same(scale: int, height: int, width: int, seed: int) -> None:
    torch.manual_seed(seed)
    net = settle(Sisn(replace(TINY, scale=scale)), seed)
    x = torch.rand(1, 3, height, width) * 255
    with torch.inference_mode():
        before = net(x)
        fold_head(net)
        torch.testing.assert_close(net(x), before, rtol=0, atol=1e-3)
        fold_head(net)  # Nothing is left to fold.
        again = load_sisn(net.state_dict())
        assert again.config == net.config
        assert torch.equal(again(x), net(x))


@pytest.mark.parametrize("detail", ["isa", "conv3x3", "none"])
def test_folded_norms_give_the_same(detail: str) -> None:
    torch.manual_seed(0)
    net = settle(Sisn(replace(TINY, blocks=2, detail=detail, structure="isab")))
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.normal_(layer.bias)
    x = torch.rand(2, 3, 5, 6) * 255
    with torch.inference_mode():
        before = net(x)
        fold_norms(net)
        torch.testing.assert_close(net(x), before, rtol=0, atol=1e-3)
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())


def test_split_attention_against_loops() -> None:
    torch.manual_seed(0)
    layer = SplitAttention(8, 2).eval()
    x = torch.randn(1, 8, 3, 4)
    with torch.inference_mode():
        # Split k is made of the k-th half of the input channels.
        half = [
            torch.nn.functional.conv2d(x[:, 4 * k : 4 * k + 4], layer.conv.weight[8 * k : 8 * k + 8], padding=1)
            for k in range(2)
        ]
        scale = 1 / (1 + layer.bn0.eps) ** 0.5  # A fresh batch norm divides by this much.
        split = [np.maximum(h[0].numpy() * scale, 0) for h in half]
        pooled = np.array([sum(float(s[c].mean()) for s in split) for c in range(8)], np.float32)
        hidden = layer.conv1x1_1(torch.from_numpy(pooled).view(1, 8, 1, 1)).numpy().ravel() * scale
        logits = layer.conv1x1_2(torch.from_numpy(np.maximum(hidden, 0)).view(1, -1, 1, 1)).numpy().reshape(2, 8)
        expected = np.zeros((8, 3, 4))
        for c in range(8):
            total = sum(np.exp(logits[k, c]) for k in range(2))
            for k in range(2):
                expected[c] += split[k][c] * np.exp(logits[k, c]) / total
        np.testing.assert_allclose(layer(x)[0].numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_bicubic_skip_is_pillows_enlargement(
    scale: int, bicubic_skip: Callable[[nn.Module, nn.Module, int], None]
) -> None:
    net = Sisn(replace(TINY, scale=scale, skip="bicubic")).eval()
    bicubic_skip(net, net.tail[1], scale)


@pytest.mark.parametrize("head", ["repo", "direct"])
@pytest.mark.parametrize(("structure", "detail"), [
    ("isab", "isa"), ("isab", "none"), ("isab", "conv3x3"), ("isa", "isa"), ("identity", "isa"),
    ("isa", "none"), ("isa", "conv3x3"),
])  # fmt: skip
def test_shape_is_read_from_tensors(structure: str, detail: str, head: str) -> None:
    config = SisnConfig(2, 3, 8, 2, 4, head, structure, detail)
    assert infer_config(Sisn(config).state_dict()) == config
    assert infer_config(Sisn(config).state_dict(), skip="bicubic").skip == "bicubic"


@pytest.mark.parametrize(("structure", "detail"), [("none", "isa"), ("none", "none"), ("identity", "conv3x3")])
def test_what_tensors_cannot_tell_still_loads(structure: str, detail: str) -> None:
    config = replace(TINY, structure=structure, detail=detail)
    state = Sisn(config).state_dict()
    found = infer_config(state)  # No tensor tells `none` from `identity`, nor the radix where nothing is split.
    assert (found.structure, found.detail) == ("identity", detail)
    assert load_sisn(state, config).config == config
    load_sisn(state)


def test_ablations_change_the_output() -> None:
    torch.manual_seed(0)
    full = settle(Sisn(TINY))
    x = torch.rand(1, 3, 4, 5) * 255
    outputs = []
    for structure in ("isab", "identity", "none"):
        net = Sisn(replace(TINY, structure=structure))
        net.load_state_dict({k: v for k, v in full.state_dict().items() if structure == "isab" or ".IA." not in k})
        outputs.append(net.eval()(x))
    assert torch.equal(outputs[0], full(x))
    assert all((outputs[i] - outputs[j]).abs().max() > 1e-3 for i, j in ((0, 1), (0, 2), (1, 2)))


def test_head_and_tail_must_agree_about_the_scale(golden: Golden) -> None:
    weights, _, _ = golden("sisn_x4", "module.")
    cut = {key: value for key, value in weights.items() if "tail.0.2." not in key}
    with pytest.raises(WeightsError, match=r"head\.1\.weight has 48 inputs \(scale 4\), but the tail enlarges 2 times"):
        load_sisn(cut)


def test_damaged_and_foreign_weights_are_refused() -> None:
    state = Sisn(TINY).state_dict()
    with pytest.raises(WeightsError, match="not the weights of a SISN"):
        load_sisn({k: v for k, v in state.items() if not k.startswith("head.")})
    with pytest.raises(WeightsError, match="not the weights of a SISN"):
        load_sisn({k: v for k, v in state.items() if not k.startswith("body.")})
    with pytest.raises(WeightsError, match=r"body\.0\.IA\.bn3\.running_var"):
        load_sisn({k: v for k, v in state.items() if k != "body.0.IA.bn3.running_var"})
    with pytest.raises(WeightsError, match="do not fit"):
        load_sisn(state, replace(TINY, groups=2))


def test_prefix_is_removed_once_and_only_in_front() -> None:
    one = torch.zeros(1)
    assert set(strip_prefix({"module.a.module.b": one, "c": one})) == {"a.module.b", "c"}


@pytest.mark.parametrize(
    "options",
    [{"scale": 3}, {"groups": 0}, {"channels": 10, "radix": 4}, {"head": "x"}, {"detail": "isab"}, {"skip": "x"}],
)
def test_impossible_shapes_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="SISN"):
        SisnConfig(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{}, {"head": "direct", "skip": "bicubic"}, {"structure": "isa", "detail": "none"}])
def test_two_training_steps(train_two_steps: Callable[..., None], options: dict[str, str]) -> None:
    torch.manual_seed(0)
    train_two_steps(networks.build("sisn", {"groups": 1, "blocks": 1, "channels": 8, "radix": 2, **options}, 2), 2)


def test_unknown_option_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match=r"'sisn'.*'depth'"):
        networks.build("sisn", {"depth": 3}, 2)
    with pytest.raises(ConfigError, match=r"rcan"):
        networks.build("rcam", {}, 2)
    with pytest.raises(ConfigError, match="cannot be trained"):
        networks.build("mobilefacenet", {}, 2)


def test_backend(save_weights: Callable[..., Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = settle(Sisn(replace(TINY, skip="bicubic")))
    picture = Image(np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8))
    x = torch.from_numpy(picture.pixels.transpose(2, 0, 1).copy())[None].float()
    file = save_weights(tmp_path / "a.safetensors", net, net.config.as_dict())
    backend = registry.build("sr", "sisn", registry.Options(scale=2, weights=file))
    with torch.inference_mode():
        expected = net(x)[0].clamp(0, 255).round().permute(1, 2, 0).numpy()
    # Folding the head may move a value over the edge of rounding.
    assert np.abs(backend.upscale([picture])[0].pixels - expected).max() <= 1
    with pytest.raises(ConfigError, match=r"No SISN weights for x2 are shipped \(shipped: x4.*\): .*--sr sisn:FILE"):
        registry.build("sr", "sisn", registry.Options(scale=2))
    with pytest.raises(ConfigError, match=r"a\.safetensors enlarges 2 times, the recipe asks for 4: use --scale"):
        registry.build("sr", "sisn", registry.Options(weights=file))
    other = save_weights(tmp_path / "b.safetensors", net, {"reduction": 4})
    with pytest.raises(WeightsError, match=r"b\.safetensors: its options are not SISN's"):
        registry.build("sr", "sisn", registry.Options(weights=other))
