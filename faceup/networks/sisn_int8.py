"""Writes SISN as an ONNX model that computes its features in 8 bits.

    ranges = find_ranges(net, pictures)        what every feature map spans on pictures that stand for those to come
    model = int8_model(net, ranges)            the bytes of the model

Weights are int8 with a scale for every output channel, features uint8 with a scale and a zero point for every tensor;
sums are int32. The first convolution, whose input is a picture, and the vectors of the split attention stay float32:
they cost nothing. The model is written with QuantizeLinear and DequantizeLinear around plain operators (QDQ), which
ONNX Runtime fuses.

Processors with AVX2 but without VNNI multiply uint8 by int8 and add two neighbouring products in 16 bits, which
saturate: 2 * 255 * 127 is more than 32767. So weights have 7 bits; 2 * 255 * 64 fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from torch import nn

from faceup.errors import ConfigError
from faceup.networks._common import as_array
from faceup.networks._onnx_graph import OnnxGraph
from faceup.networks.sisn import AttentionGroup, PlainConv, Sisn, SplitAttention, SplitAttentionBlock
from faceup.types import Floats

# Smallest and largest value of a tensor.
Range = tuple[float, float]
RunModel = Callable[[bytes], Callable[[Floats], list[Floats]]]
LARGEST_WEIGHT = 64
_LEVELS = 255


def _scalar(value: float) -> Floats:
    return np.asarray(value, np.float32)


class _Writer:
    """Writes the network in 8 bits or, without ranges, in float32; `watched` makes the latter tell its ranges only."""

    def __init__(self, ranges: Sequence[Range] | None, *, watched: bool = False) -> None:
        self.graph = OnnxGraph({"x": (1, 3, "h", "w")})
        self.ranges, self.watched = ranges, watched
        self.told: list[str] = []  # smallest and largest value of each tensor in turn
        self.tensors = 0
        self.scales: dict[str, tuple[Floats, str, str]] = {}

    def one(self, operator: str, *inputs: str, **attributes: int | str | Sequence[int]) -> str:
        (y,) = self.graph.add(operator, *inputs, outputs=1, **attributes)
        return y

    def held(self, x: str) -> str:
        """Let a tensor be held in 8 bits."""
        number, self.tensors = self.tensors, self.tensors + 1
        if self.ranges is None:
            if self.watched:
                self.told += [self.one("ReduceMin", x, keepdims=0), self.one("ReduceMax", x, keepdims=0)]
            return x
        if number >= len(self.ranges):
            raise ConfigError(f"Ranges of {len(self.ranges)} tensors were given; the network has more.")
        low, high = min(self.ranges[number][0], 0.0), max(self.ranges[number][1], 0.0)
        scale = _scalar(max(high - low, 1e-6) / _LEVELS)
        zero = np.asarray(round(-low / float(scale)), np.uint8)
        return self._rounded(x, (scale, self.graph.constant(scale), self.graph.constant(zero)))

    def _rounded(self, x: str, at: tuple[Floats, str, str]) -> str:
        y = self.one("DequantizeLinear", self.one("QuantizeLinear", x, *at[1:]), *at[1:])
        self.scales[y] = at
        return y

    def parts(self, x: str, count: int) -> list[str]:
        """Cut channels into equal parts, each with the scale of the whole."""
        if count == 1:
            return [x]
        made = list(self.graph.add("Split", x, outputs=count, axis=1))
        return made if x not in self.scales else [self._rounded(part, self.scales[x]) for part in made]

    def plain(self, x: str, weight: Floats, bias: Floats | None) -> str:
        """Add a convolution in float32 that keeps the size."""
        held = [self.graph.constant(weight), *([] if bias is None else [self.graph.constant(bias)])]
        return self.one("Conv", x, *held, pads=[weight.shape[-1] // 2] * 4)

    def conv(self, x: str, weight: Floats, bias: Floats | None, *, relu: bool = False) -> str:
        """Add a convolution of a tensor held in 8 bits, whose output is held so, too."""
        if self.ranges is None:
            y = self.plain(x, weight, bias)
            return self.held(self.one("Relu", y) if relu else y)
        # Where a ReLU follows, the output's range begins at 0: what is less is cut off anyway.
        sizes = np.abs(weight).reshape(len(weight), -1).max(1)
        scale = np.maximum(sizes / LARGEST_WEIGHT, 1e-12).astype(np.float32)
        whole = np.round(weight / scale[:, None, None, None]).astype(np.int8)
        held = [self._constant(whole, scale)]
        if bias is not None:
            both = (scale * self.scales[x][0]).astype(np.float32)
            held.append(self._constant(np.round(bias / both.astype(np.float64)).astype(np.int32), both))
        return self.held(self.one("Conv", x, *held, pads=[weight.shape[-1] // 2] * 4))

    def _constant(self, whole: npt.NDArray[np.int8] | npt.NDArray[np.int32], scale: Floats) -> str:
        zeros = self.graph.constant(np.zeros(len(scale), whole.dtype))
        return self.one("DequantizeLinear", self.graph.constant(whole), self.graph.constant(scale), zeros, axis=0)

    def layer(self, x: str, layer: nn.Module, *, relu: bool = False) -> str:
        assert isinstance(layer, nn.Conv2d)
        return self.conv(x, as_array(layer.weight), None if layer.bias is None else as_array(layer.bias), relu=relu)

    def add(self, a: str, b: str, *, relu: bool = False) -> str:
        y = self.one("Add", a, b)
        return self.held(self.one("Relu", y) if relu and self.ranges is None else y)

    def split_attention(self, x: str, layer: SplitAttention) -> str:
        """Write each split as a convolution of its own, so that no tensor is larger than the cache likes."""
        c, r = layer.channels, layer.radix
        weight = as_array(layer.conv.weight)
        bias = as_array(layer.conv.bias)
        splits = [
            self.conv(part, weight[k * c : (k + 1) * c], bias[k * c : (k + 1) * c], relu=True)
            for k, part in enumerate(self.parts(x, r))
        ]
        pooled = self.one("Concat", *(self.held(self.one("GlobalAveragePool", y)) for y in splits), axis=1)
        # The sum over the splits lies in the weights of the first of the two small layers.
        first, second = layer.conv1x1_1, layer.conv1x1_2
        summed = np.tile(as_array(first.weight), (1, r, 1, 1))
        hidden = self.one("Relu", self.plain(pooled, summed, as_array(first.bias)))
        logits = self.plain(hidden, as_array(second.weight), as_array(second.bias))
        apart = self.one("Reshape", logits, self.graph.constant(np.asarray([1, r, c], np.int64)))
        weights = self.one("Softmax", apart, axis=1)
        weights = self.one("Reshape", weights, self.graph.constant(np.asarray([1, r * c, 1, 1], np.int64)))
        total = ""
        for y, part in zip(splits, self.parts(weights, r), strict=True):
            weighed = self.held(self.one("Mul", y, self.held(part)))
            total = self.add(total, weighed) if total else weighed
        return total

    def block(self, x: str, layer: SplitAttentionBlock) -> str:
        y = self.detail(self.layer(x, layer.conv1, relu=True), layer.conv2)
        return self.add(self.layer(y, layer.conv3), x, relu=True)

    def detail(self, x: str, layer: nn.Module) -> str:
        """Write whatever stands in a path of SISN."""
        if isinstance(layer, SplitAttention):
            return self.split_attention(x, layer)
        if isinstance(layer, SplitAttentionBlock):
            return self.block(x, layer)
        if isinstance(layer, PlainConv):
            return self.layer(x, layer.conv, relu=True)
        return x if isinstance(layer, nn.Identity) else self.layer(x, layer)

    def group(self, x: str, layer: AttentionGroup) -> str:
        y = x
        for part in layer.body:
            y = self.detail(y, part)
        return y if layer.IA is None else self.add(y, self.detail(x, layer.IA))

    def network(self, net: Sisn) -> bytes:
        unit = net.config.unit
        shift, head, back = net.sub_mean, net.head[1], net.add_mean
        assert isinstance(head, nn.Conv2d)
        y = self.plain("x", as_array(shift.weight) / np.float32(unit), as_array(shift.bias) / np.float32(unit))
        coarse = y = self.held(self.plain(y, as_array(head.weight), as_array(head.bias)))
        for part in net.body:
            y = self.group(y, part) if isinstance(part, AttentionGroup) else self.layer(y, part)
        y = self.add(y, coarse)
        enlarging, last = net.tail[0], net.tail[1]
        assert isinstance(enlarging, nn.Sequential)
        assert isinstance(last, nn.Conv2d)
        for step in enlarging:
            y = self._shuffled(y, step.upscale_factor) if isinstance(step, nn.PixelShuffle) else self.layer(y, step)
        y = self.conv(y, as_array(last.weight) * np.float32(unit), as_array(last.bias) * np.float32(unit))
        if net.config.skip == "none":
            y = self.plain(y, as_array(back.weight), as_array(back.bias))
        if self.watched:
            return self.graph.model(dict.fromkeys(self.told, ()))
        if self.ranges is not None and self.tensors != len(self.ranges):
            raise ConfigError(f"Ranges of {len(self.ranges)} tensors were given; the network has {self.tensors}.")
        return self.graph.model({y: (1, 3, "rows", "columns")})

    def _shuffled(self, x: str, times: int) -> str:
        """Move channels into blocks of pixels; torch's order of channels is ONNX's `CRD`, and a matter of axes."""
        y = self.one("DepthToSpace", x, blocksize=times, mode="CRD")
        return self._rounded(y, self.scales[x]) if x in self.scales else y


def find_ranges(net: Sisn, pictures: Sequence[npt.NDArray[np.uint8]], load: RunModel) -> list[Range]:
    """Return the smallest and the largest value that each tensor held in 8 bits takes on the given pictures.

    Args:
        net: head and batch norms folded.
        pictures: (H, W, 3) uint8 RGB low-resolution pictures like those that the network will get; at least one.
        load: makes a function of float32 arrays of an ONNX model's bytes, which returns all outputs.
    """
    run = load(float_model(net, watched=True))
    told = np.stack([np.stack(run(planes(picture))) for picture in pictures])
    return [(float(low), float(high)) for low, high in zip(told[:, ::2].min(0), told[:, 1::2].max(0), strict=True)]


def float_model(net: Sisn, *, watched: bool = False) -> bytes:
    """Return the network as the same ONNX model in float32.

    Args:
        net: head and batch norms folded.
        watched: let the model give the smallest and the largest value of each tensor that `int8_model` holds in 8 bits,
            one after the other, and nothing else.
    """
    return _Writer(None, watched=watched).network(net)


def int8_model(net: Sisn, ranges: Sequence[Range]) -> bytes:
    """Return the network as an ONNX model in 8 bits: float32 `x` (1, 3, H, W) RGB 0..255 to (1, 3, sH, sW).

    With `config.skip` = `bicubic` the enlarged picture is left to the caller to add, as in `faceup.networks.ncnn`.

    Args:
        net: head and batch norms folded.
        ranges: of `find_ranges`, for this network.

    Raises:
        ConfigError: the ranges are those of another network.
    """
    return _Writer(ranges).network(net)


def planes(picture: npt.NDArray[np.uint8]) -> Floats:
    """Return a picture (H, W, 3) as (1, 3, H, W) float32."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
