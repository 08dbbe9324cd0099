"""PReLU in forms for which ONNX Runtime has fast code: in the layout of its convolutions it has no PReLU of its own."""

from __future__ import annotations

import numpy as np

from faceup.networks._onnx_graph import OnnxGraph
from faceup.types import Floats

# A slope is at least this far from 1, where nothing would be bent.
_LEAST_BEND = 1e-6


def add_bend(graph: OnnxGraph, x: str, slopes: Floats) -> tuple[str, Floats]:
    """Add what is left of the PReLU of a picture's channels when a factor for each is taken out of it.

    PReLU(y) = (1 - a) (relu(y) + a / (1 - a) y), with slope a. What stands in the bracket is a ReLU and a depth-wise
    1 x 1 convolution that adds to it. The factor belongs into the weights of the convolution that follows.

    Args:
        graph: to which it is added.
        x: name of a tensor (N, C, H, W).
        slopes: (C,).

    Returns:
        The name of the result, and the factors (C,), which are positive where the slope is below 1.
    """
    factor = 1 - slopes
    factor[np.abs(factor) < _LEAST_BEND] = _LEAST_BEND
    (rising,) = graph.add("Relu", x)
    slant = graph.constant(((1 - factor) / factor)[:, None, None, None])
    (slanted,) = graph.add("Conv", x, slant, group=len(slopes))
    (x,) = graph.add("Add", slanted, rising)
    return x, factor


def add_prelu(graph: OnnxGraph, x: str, slopes: Floats) -> str:
    """Add the PReLU of columns, (N, C), with slopes (C,) of at most 1, and return the name of the result."""
    (slanted,) = graph.add("Mul", x, graph.constant(slopes))
    (x,) = graph.add("Max", x, slanted)
    return x
