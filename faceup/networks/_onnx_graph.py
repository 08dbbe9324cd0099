"""Writes small ONNX models, so that ONNX Runtime can run networks whose weights come from elsewhere.

The package `onnx` would do the same and is needed for nothing else. A model is a message of protocol buffers: fields,
each a number with a varint or with bytes of a given length. The field numbers are those of onnx.proto3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

IR_VERSION = 8
OPSET = 17
_FLOAT = 1
_TYPES = {
    np.dtype(kind): code
    for kind, code in ((np.float32, _FLOAT), (np.uint8, 2), (np.int8, 3), (np.int32, 6), (np.int64, 7))
}
_ATTRIBUTE_INT, _ATTRIBUTE_STRING, _ATTRIBUTE_INTS = 2, 3, 7


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _fields(number: int, values: Iterable[int | str | bytes]) -> bytes:
    return b"".join(_field(number, value) for value in values)


class OnnxGraph:
    """A graph that grows by one operator at a time; every tensor has a name.

    Args:
        inputs: name to shape of each float32 input; a text in a shape is a size that is free.
    """

    def __init__(self, inputs: dict[str, Sequence[int | str]]) -> None:
        self._inputs = inputs
        self._nodes: list[bytes] = []
        self._constants: list[bytes] = []

    def constant(self, value: npt.NDArray[Any]) -> str:
        """Add an array of a type in `_TYPES` and return its name."""
        name = f"c{len(self._constants)}"
        kind, data = _TYPES[value.dtype], value.astype(value.dtype.newbyteorder("<")).tobytes()
        self._constants.append(_fields(1, value.shape) + _field(2, kind) + _field(8, name) + _field(9, data))
        return name

    def add(
        self, operator: str, *inputs: str, outputs: int = 1, **attributes: int | str | Sequence[int]
    ) -> tuple[str, ...]:
        """Add an operator and return the names of its outputs; attributes are whole numbers, lists of them, texts."""
        names = tuple(f"t{len(self._nodes)}_{i}" for i in range(outputs))
        node = _fields(1, inputs) + _fields(2, names) + _field(4, operator)
        for key, value in attributes.items():
            if isinstance(value, int):
                held = _field(3, value) + _field(20, _ATTRIBUTE_INT)
            elif isinstance(value, str):
                held = _field(4, value) + _field(20, _ATTRIBUTE_STRING)
            else:
                held = _fields(8, value) + _field(20, _ATTRIBUTE_INTS)
            node += _field(5, _field(1, key) + held)
        self._nodes.append(node)
        return names

    def model(self, outputs: dict[str, Sequence[int | str]]) -> bytes:
        """Return the serialised model; `outputs` are float32 and described as the inputs are."""
        graph = _fields(1, self._nodes) + _field(2, "graph") + _fields(5, self._constants)
        graph += _fields(11, (_value(name, shape) for name, shape in self._inputs.items()))
        graph += _fields(12, (_value(name, shape) for name, shape in outputs.items()))
        return _field(1, IR_VERSION) + _field(8, _field(2, OPSET)) + _field(7, graph)


def _value(name: str, shape: Sequence[int | str]) -> bytes:
    sizes = _fields(1, (_field(1 if isinstance(size, int) else 2, size) for size in shape))
    return _field(1, name) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, sizes)))
