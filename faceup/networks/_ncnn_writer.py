"""Writes networks for ncnn.

A .param file is a text with one line a layer (type, name, numbers of inputs and outputs, their names, settings by
number); the weights follow each other in the order of the layers. The numbers are in ncnn's documentation of operators.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

INPUT, OUTPUT = "in", "out"
Setting = int | float | str
_LEAKY = 2


@dataclass(slots=True)
class _Layer:
    kind: str
    inputs: list[str]
    outputs: list[str]
    settings: dict[int, str]


@dataclass(slots=True)
class NcnnWriter:
    """A network that grows by one layer at a time; every blob has a name.

    Attributes:
        layers: what `text` writes.
        weights: all weights, float32.
        blobs: how many have got a name.
    """

    layers: list[_Layer] = field(default_factory=list)
    weights: bytearray = field(default_factory=bytearray)
    blobs: int = 0

    def input(self) -> str:
        """Add what the network gets, blob `INPUT`, and return its name."""
        self.layers.append(_Layer("Input", [], [INPUT], {}))
        return INPUT

    def add(self, kind: str, inputs: Sequence[str], settings: Mapping[int, Setting] | None = None) -> str:
        """Add a layer of one output and return the output's name."""
        return self.add_many(kind, inputs, 1, settings)[0]

    def add_many(
        self, kind: str, inputs: Sequence[str], count: int, settings: Mapping[int, Setting] | None = None
    ) -> list[str]:
        """Add a layer of `count` outputs and return their names."""
        outputs = [f"b{self.blobs + i}" for i in range(count)]
        self.blobs += count
        # ncnn tells a float from a whole number by its point.
        told = {
            key: f"{value:e}" if isinstance(value, float) else str(value) for key, value in (settings or {}).items()
        }
        self.layers.append(_Layer(kind, list(inputs), outputs, told))
        return outputs

    def convolution(
        self, x: str, weight: Tensor, bias: Tensor | None, *, stride: int = 1, padding: int = 0, upwards: bool = False
    ) -> str:
        """Add a convolution without groups.

        Args:
            x: name of a blob (C, H, W).
            weight: (O, C, K, K).
            bias: (O,) or none.
            stride: of the window.
            padding: zeros on every side.
            upwards: whether it is the transposed convolution.
        """
        settings = {0: len(weight), 1: weight.shape[-1], 3: stride, 4: padding, 5: int(bias is not None)}
        settings[6] = weight.numel()
        y = self.add("Deconvolution" if upwards else "Convolution", [x], settings)
        self._store(weight, bias)
        return y

    def product(self, x: str, weight: Tensor, bias: Tensor | None) -> str:
        """Add the product of a matrix (O, C) and all values of a blob."""
        y = self.add("InnerProduct", [x], {0: len(weight), 1: int(bias is not None), 2: weight.numel()})
        self._store(weight, bias)
        return y

    def activate(self, y: str, kind: int, slope: float = 0.0) -> None:
        """Let the layer that has just made `y` end with an activation."""
        settings = next(layer for layer in reversed(self.layers) if y in layer.outputs).settings
        settings[9] = str(kind)
        if kind == _LEAKY:
            settings[-23310] = f"1,{slope:e}"

    def _store(self, weight: Tensor, bias: Tensor | None) -> None:
        # Four zero bytes before a weight say that it is float32; a bias has no such mark.
        self.weights += bytes(4) + _floats(weight)
        if bias is not None:
            self.weights += _floats(bias)

    def text(self, output: str) -> str:
        """Return the layers; where several read one blob ncnn wants a layer that hands it out."""
        readers = Counter(name for layer in self.layers for name in layer.inputs)
        left: dict[str, list[str]] = {}
        lines: list[str] = []
        blobs = 0

        def line(kind: str, inputs: list[str], outputs: list[str], settings: dict[int, str]) -> None:
            nonlocal blobs
            blobs += len(outputs)
            told = [f"{key}={value}" for key, value in settings.items()]
            counts = [str(len(inputs)), str(len(outputs))]
            names = [OUTPUT if name == output else name for name in inputs + outputs]
            lines.append(" ".join([kind, f"layer{len(lines)}", *counts, *names, *told]))

        for layer in self.layers:
            inputs = [left[name].pop() if name in left else name for name in layer.inputs]
            line(layer.kind, inputs, layer.outputs, layer.settings)
            for name in layer.outputs:
                if readers[name] > 1:
                    left[name] = [f"{name}_{i}" for i in range(readers[name])]
                    line("Split", [name], left[name][::-1], {})
        return "\n".join(["7767517", f"{len(lines)} {blobs}", *lines, ""])


def _floats(values: Tensor) -> bytes:
    return np.ascontiguousarray(values.detach().cpu().float().numpy(), "<f4").tobytes()
