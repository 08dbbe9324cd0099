"""Writes a network as an ncnn graph, whose kernels for the CPU need fewer multiplications than torch's.

    graph = ncnn_graph(net)
    graph.param, graph.weights      what ncnn.Net loads
    graph.skip                      times the bicubic enlargement that is to be added to the output, or 0

The forward of the network is traced; layers that ncnn has are written as they are, the split attention in a form that
suits it. A network with anything else in it is refused, and its backend stays with torch. Nothing here needs ncnn.

The numbers of settings are in ncnn's documentation of operators; `faceup.networks._ncnn_writer` writes the files.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from faceup.networks._common import UntranslatableError
from faceup.networks._ncnn_writer import INPUT, OUTPUT, NcnnWriter, Setting
from faceup.networks.sisn import SplitAttention

__all__ = ["INPUT", "OUTPUT", "NcnnGraph", "ncnn_graph"]

_RELU, _LEAKY, _SIGMOID = 1, 2, 4
_ADD, _MULTIPLY, _DIVIDE = 0, 2, 3
_ARITHMETIC: dict[Any, int] = {operator.add: _ADD, operator.mul: _MULTIPLY, operator.truediv: _DIVIDE}
_LEAVES = (nn.Conv2d, nn.ConvTranspose2d, nn.PReLU, nn.ReLU, nn.Sigmoid, nn.PixelShuffle, nn.Identity, SplitAttention)


@dataclass(frozen=True, slots=True)
class NcnnGraph:
    """A network for ncnn: one picture (3, H, W) RGB 0..255 as blob `INPUT` to (3, sH, sW) as blob `OUTPUT`.

    Attributes:
        param: its layers as text.
        weights: all weights, float32.
        skip: how many times the input is to be enlarged (`bicubic`) and added to the output; 0 for not at all. ncnn's
            own bicubic is another filter.
    """

    param: str
    weights: bytes
    skip: int


def _parts(count: int) -> dict[int, Setting]:
    return {-23300: ",".join([str(count), *["-233"] * count])}


def _parameters(layer: nn.Conv2d | nn.ConvTranspose2d) -> tuple[Tensor, Tensor | None]:
    return layer.weight, layer.bias


def _square(value: Any) -> int:
    first, second = value if isinstance(value, tuple) else (value, value)
    if first != second or not isinstance(first, int):
        raise UntranslatableError(f"a convolution with {value}")
    return first


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, _LEAVES)


class _Translation:
    """Goes through the nodes of a traced network and writes each."""

    def __init__(self, net: nn.Module) -> None:
        self.net, self.writer = net, NcnnWriter()
        self.blob: dict[fx.Node, str] = {}
        self.flat: set[str] = set()  # vectors, one value a channel
        self.bicubic: dict[fx.Node, int] = {}
        self.skip = 0

    def run(self) -> NcnnGraph:
        try:
            nodes = _Tracer().trace(self.net).nodes
        except Exception as error:  # tracing runs any code of any network
            raise UntranslatableError(f"its forward cannot be traced ({error})") from error
        for node in nodes:
            if self._does_nothing(node):
                node.replace_all_uses_with(node.args[0])
            elif node.op == "placeholder":
                self.blob[node] = self.writer.input()
            elif node.op == "output":
                last = self._of(node.args[0])
            else:
                self._node(node)
        return NcnnGraph(self.writer.text(last), bytes(self.writer.weights), self.skip)

    def _of(self, value: object) -> str:
        """Return the blob that an argument is."""
        if isinstance(value, fx.Node) and value in self.blob:
            return self.blob[value]
        raise UntranslatableError(f"{value} in an unexpected place")

    def _does_nothing(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return isinstance(self.net.get_submodule(str(node.target)), nn.Identity)
        return node.target in (operator.mul, operator.truediv) and bool(node.args[1] == 1)

    def _node(self, node: fx.Node) -> None:
        if node.op == "call_module":
            y = self._module(self.net.get_submodule(str(node.target)), node)
        elif node.op == "call_function":
            y = self._function(node)
        elif node.op == "call_method" and node.target == "mean":
            y = self._mean(node)
        else:
            y = None
        if y is not None:
            self.blob[node] = y
        elif node not in self.bicubic:
            raise UntranslatableError(f"{node.op} {node.target}")

    def _module(self, layer: nn.Module, node: fx.Node) -> str | None:
        source = node.args[0]
        x, writer = self._of(source), self.writer
        assert isinstance(source, fx.Node)
        if isinstance(layer, SplitAttention):
            return self._split_attention(layer, x)
        if isinstance(layer, nn.ReLU):
            return self._activation(source, _RELU)
        if isinstance(layer, nn.Sigmoid):
            return self._activation(source, _SIGMOID)
        if isinstance(layer, nn.PReLU) and layer.num_parameters == 1:
            return self._activation(source, _LEAKY, layer.weight.item())
        if isinstance(layer, nn.PixelShuffle):
            return writer.add("PixelShuffle", [x], {0: layer.upscale_factor})
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            if layer.groups != 1 or layer.padding_mode != "zeros" or set(layer.dilation) != {1}:
                raise UntranslatableError(f"{layer}")
            if isinstance(layer, nn.ConvTranspose2d) and set(layer.output_padding) != {0}:
                raise UntranslatableError(f"{layer}")
            if x in self.flat and isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
                return self._vector(writer.product(x, *_parameters(layer)))
            return self._convolution(x, layer, slice(None))
        return None

    def _convolution(self, x: str, layer: nn.Conv2d | nn.ConvTranspose2d, own: slice) -> str:
        """Write those outputs of a convolution; all of them of one that enlarges."""
        weight, bias = _parameters(layer)
        upwards = isinstance(layer, nn.ConvTranspose2d)
        if upwards:
            weight = weight.transpose(0, 1)  # ncnn has outputs first in both
        stride, padding = _square(layer.stride), _square(layer.padding)
        _square(layer.kernel_size)  # refuses another
        return self.writer.convolution(
            x, weight[own], None if bias is None else bias[own], stride=stride, padding=padding, upwards=upwards
        )

    def _function(self, node: fx.Node) -> str | None:
        target, args, writer = node.target, node.args, self.writer
        if target is F.relu:
            return self._activation(args[0], _RELU)
        if target is torch.cat and node.kwargs == {"dim": 1} and isinstance(args[0], Sequence):
            return writer.add("Concat", [self._of(part) for part in args[0]], {0: 0})
        if target is F.interpolate:
            return self._interpolate(node)
        if target in _ARITHMETIC:
            return self._arithmetic(node, _ARITHMETIC[target], *args)
        return None

    def _interpolate(self, node: fx.Node) -> str | None:
        source, how = node.args[0], node.kwargs
        times = how["scale_factor"]
        if not isinstance(source, fx.Node) or not isinstance(times, int):
            return None
        if how["mode"] == "bicubic" and how["antialias"] and source.op == "placeholder":
            self.bicubic[node] = times
        elif how["mode"] == "bilinear" and not how["align_corners"]:
            return self.writer.add("Interp", [self._of(source)], {0: 2, 1: float(times), 2: float(times)})
        return None

    def _arithmetic(self, node: fx.Node, code: int, a: object, b: object) -> str | None:
        x = self._of(a)
        if isinstance(b, fx.Node) and b in self.bicubic:
            if code != _ADD or [user.op for user in node.users] != ["output"]:
                return None
            self.skip = self.bicubic[b]
            return x
        if isinstance(b, (int, float)):
            return self.writer.add("BinaryOp", [x], {0: code, 1: 1, 2: float(b)})
        y = self._of(b)
        if y in self.flat and x not in self.flat:  # a weight for every channel
            return self.writer.add("Scale", [x, y], {0: -233}) if code == _MULTIPLY else None
        return self.writer.add("BinaryOp", [x, y], {0: code})

    def _mean(self, node: fx.Node) -> str | None:
        return self._pooled(self._of(node.args[0])) if node.kwargs == {"dim": (2, 3), "keepdim": True} else None

    def _activation(self, source: object, kind: int, slope: float = 0.0) -> str:
        """Let the layer before do it, if nobody else reads what that makes."""
        x = self._of(source)
        alone = isinstance(source, fx.Node) and len(source.users) == 1
        maker = next(layer for layer in reversed(self.writer.layers) if x in layer.outputs)
        if alone and maker.kind in ("Convolution", "Deconvolution", "InnerProduct") and 9 not in maker.settings:
            self.writer.activate(x, kind, slope)
            return x
        if kind == _SIGMOID:
            return self.writer.add("Sigmoid", [x])
        return self.writer.add("ReLU", [x], {0: slope})

    def _pooled(self, x: str) -> str:
        return self._vector(self.writer.add("Pooling", [x], {0: 1, 4: 1}))

    def _vector(self, y: str) -> str:
        self.flat.add(y)
        return y

    def _split_attention(self, layer: SplitAttention, x: str) -> str:
        """Write each split as a convolution of its own, so that it is pooled and weighed without being cut out."""
        writer, c, r = self.writer, layer.channels, layer.radix
        if not isinstance(layer.bn0, nn.Identity) or not isinstance(layer.bn1, nn.Identity):
            raise UntranslatableError("batch norms that are not folded")
        splits = []
        for k, part in enumerate(writer.add_many("Slice", [x], r, _parts(r)) if r > 1 else [x]):
            y = self._convolution(part, layer.conv, slice(k * c, (k + 1) * c))
            writer.activate(y, _RELU)
            splits.append(y)
        pooled = [self._pooled(y) for y in splits]
        hidden = writer.product(
            writer.add("Eltwise", pooled, {0: 1}) if r > 1 else pooled[0], *_parameters(layer.conv1x1_1)
        )
        writer.activate(hidden, _RELU)
        logits = writer.add("Reshape", [writer.product(hidden, *_parameters(layer.conv1x1_2))], {0: c, 1: r})
        weights = writer.add("Reshape", [writer.add("Softmax", [logits], {0: 0, 1: 1})], {0: c * r})
        each = writer.add_many("Slice", [weights], r, _parts(r)) if r > 1 else [weights]
        total = None
        for y, weight in zip(splits, each, strict=True):
            weighed = writer.add("Scale", [y, weight], {0: -233})
            total = weighed if total is None else writer.add("BinaryOp", [total, weighed], {0: _ADD})
        assert total is not None
        return total


def ncnn_graph(net: nn.Module) -> NcnnGraph:
    """Write a network for ncnn; it is left as it is.

    Args:
        net: maps float (N, 3, H, W) RGB 0..255 to (N, 3, sH, sW), ready for use; batch norms are folded already.

    Raises:
        UntranslatableError: it has something in it that is not written for ncnn; the message says what.
    """
    return _Translation(net).run()
