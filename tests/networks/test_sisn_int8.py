"""SISN in 8 bits: the same network, what its numbers are, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from faceup.errors import ConfigError
from faceup.networks._common import bicubic
from faceup.networks.sisn import Sisn, SisnConfig, SplitAttention, fold_head, fold_norms
from faceup.networks.sisn_int8 import LARGEST_WEIGHT, find_ranges, float_model, int8_model, planes
from faceup.runtime.onnx_session import open_session
from tests.contracts import pictures

TINY = SisnConfig(groups=1, blocks=1, channels=8, radix=2, scale=2)
Floats = npt.NDArray[np.float32]
SHAPES: list[dict[str, Any]] = [
    {},
    {"skip": "bicubic", "unit": 64.0},
    {"structure": "isa", "detail": "conv3x3"},
    {"structure": "identity", "radix": 4, "scale": 4},
    {"structure": "none", "radix": 1},
    {"detail": "none"},
]


def load(model: bytes) -> Callable[[Floats], list[Floats]]:
    session = open_session(model, "cpu", 1)
    return lambda x: list(session.run(None, {"x": x}))


def folded(config: SisnConfig) -> Sisn:
    torch.manual_seed(0)
    net = Sisn(config).eval().requires_grad_(False)
    for layer in net.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.weight.uniform_(0.3, 0.9)
            layer.bias.normal_(0, 0.1)
    fold_head(net)
    fold_norms(net)
    return net.requires_grad_(False)


def by_torch(net: Sisn, x: Floats) -> Floats:
    """The network without its bicubic enlargement."""
    given = torch.from_numpy(x)
    y = net(given) - (bicubic(given, net.config.scale) if net.config.skip == "bicubic" else 0)
    return np.asarray(y.numpy(), np.float32)


@pytest.fixture(scope="module")
def seen() -> list[npt.NDArray[np.uint8]]:
    return [image.pixels for image in pictures([(9, 8), (12, 7)])]


@pytest.mark.parametrize("change", SHAPES)
def test_in_float_it_is_the_network(change: dict[str, Any], seen: list[npt.NDArray[np.uint8]]) -> None:
    net = folded(replace(TINY, **change))
    for picture in seen:
        x = planes(picture)
        (got,) = load(float_model(net))(x)
        np.testing.assert_allclose(got, by_torch(net, x), rtol=0, atol=2e-3)


@pytest.mark.parametrize("change", SHAPES)
def test_in_8_bits_it_is_near(change: dict[str, Any], seen: list[npt.NDArray[np.uint8]]) -> None:
    net = folded(replace(TINY, **change))
    model = int8_model(net, find_ranges(net, seen, load))
    for picture in seen:
        x = planes(picture)
        expected = by_torch(net, x)
        (got,) = load(model)(x)
        signal = float(np.square(expected - expected.mean()).mean())
        noise = float(np.square(got - expected).mean())
        assert 0 < noise < signal / 400


def test_ranges_are_those_of_the_features(seen: list[npt.NDArray[np.uint8]]) -> None:
    """The first is that of the head, the fourth and fifth are those of two splits; each over all pictures."""
    net = folded(TINY)
    caught: dict[str, list[torch.Tensor]] = {"head": [], "splits": []}
    split = next(layer for layer in net.modules() if isinstance(layer, SplitAttention))
    net.head.register_forward_hook(lambda _, __, y: caught["head"].append(y))
    split.conv.register_forward_hook(lambda _, __, y: caught["splits"].append(y.relu()))
    for picture in seen:
        net(torch.from_numpy(planes(picture)))
    ranges = find_ranges(net, seen, load)

    def spanned(values: list[torch.Tensor]) -> tuple[float, float]:
        return min(float(v.min()) for v in values), max(float(v.max()) for v in values)

    c = TINY.channels
    expected = [spanned(caught["head"]), *(spanned([v[:, k * c :][:, :c] for v in caught["splits"]]) for k in (0, 1))]
    np.testing.assert_allclose([ranges[0], ranges[2], ranges[3]], expected, rtol=1e-4, atol=1e-3)


def test_onnx_reads_the_same_numbers(seen: list[npt.NDArray[np.uint8]]) -> None:
    """The reference code of ONNX gives what ONNX Runtime's fused kernels give, up to a few steps of rounding."""
    net = folded(TINY)
    model = int8_model(net, find_ranges(net, seen, load))
    told = onnx.load_model_from_string(model)
    onnx.checker.check_model(told, full_check=True)
    x = planes(seen[0])
    # The reference code has these operators from opset 19 on; what they do to one scale or to channels is the same.
    told.opset_import[0].version = 19
    (expected,) = ReferenceEvaluator(told).run(None, {"x": x})
    (got,) = load(model)(x)
    assert np.abs(got - expected).max() <= 0.03 * float(np.ptp(expected))
    assert np.abs(got - expected).mean() <= 0.005 * float(np.ptp(expected))


def test_weights_have_7_bits(seen: list[npt.NDArray[np.uint8]]) -> None:
    """Two neighbouring products of uint8 and int8 must fit in 16 bits."""
    net = folded(TINY)
    told = onnx.load_model_from_string(int8_model(net, find_ranges(net, seen, load)))
    whole = [onnx.numpy_helper.to_array(c) for c in told.graph.initializer if c.data_type == onnx.TensorProto.INT8]
    weights = [values for values in whole if values.ndim == 4]
    # Two blocks of two 1 x 1 and two splits; the last of the group, the last of the body, two of the tail.
    assert len(weights) == 2 * 4 + 1 + 1 + 2
    assert {int(np.abs(values).max()) for values in weights} == {LARGEST_WEIGHT}
    assert 2 * 255 * LARGEST_WEIGHT < 2**15


@pytest.mark.parametrize("change", [{"blocks": 2}, {"structure": "none"}])
def test_ranges_of_another_network_are_refused(change: dict[str, Any], seen: list[npt.NDArray[np.uint8]]) -> None:
    net = folded(TINY)
    other = folded(replace(TINY, **change))
    before = copy.deepcopy(other.state_dict())
    with pytest.raises(ConfigError, match="tensors were given"):
        int8_model(other, find_ranges(net, seen, load))
    assert all(torch.equal(before[key], value) for key, value in other.state_dict().items())
