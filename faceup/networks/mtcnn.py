"""The three networks of MTCNN (arXiv 1604.02878) with the weights of facenet-pytorch, for torch and ONNX Runtime.

Both compute what facenet-pytorch's `PNet`, `RNet` and `ONet` compute, up to the rounding of floats, with two changes.
The input is grey levels as they are: the first layer's weights shift and scale them. Of the two numbers that a softmax
would compare the difference is given. So a network has one output of 1 + 4 numbers, O-Net of 1 + 4 + 10: the logit of a
face, corrections of the box's edges, x of the five landmarks, y of the five landmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from faceup.errors import WeightsError
from faceup.networks._onnx_graph import OnnxGraph

# Kernels of the max pools (stride 2) behind the convolutions; 0: none.
_POOLS = {"pnet": (2, 0, 0), "rnet": (3, 3, 0), "onet": (3, 3, 2, 0)}
# The heads in the order of the output.
_HEADS = {
    "pnet": ("conv4_1", "conv4_2"),
    "rnet": ("dense5_1", "dense5_2"),
    "onet": ("dense6_1", "dense6_2", "dense6_3"),
}
_MEAN, _RANGE = 127.5, 128.0
# ONNX Runtime's fast convolutions work on blocks of so many channels (twice as many where registers are wider).
_BLOCK = 8

Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution or matrix product, the slopes of the PReLU behind it, and the kernel of the max pool behind that.

    A head has no slopes.
    """

    weight: Tensor
    bias: Tensor
    slopes: Tensor | None = None
    pool: int = 0


def layers(name: str, state: Mapping[str, Tensor]) -> list[Layer]:
    """Return the layers of a network from the tensors of facenet-pytorch's file.

    Args:
        name: `pnet`, `rnet` or `onet`.
        state: key to tensor.

    Raises:
        WeightsError: they are not the network's.
    """
    try:
        found = []
        for number, pool in enumerate(_POOLS[name], start=1):
            found.append(_layer(state, f"conv{number}", f"prelu{number}", pool))
        first, number = found[0], len(found) + 1
        weight = first.weight / _RANGE
        found[0] = Layer(weight, first.bias - _MEAN * weight.sum(dim=(1, 2, 3)), first.slopes, first.pool)
        if name != "pnet":
            found.append(_layer(state, f"dense{number}", f"prelu{number}"))
        face, *others = _HEADS[name]
        weight, bias = (
            torch.cat([state[f"{face}.{part}"].diff(dim=0), *(state[f"{other}.{part}"] for other in others)])
            for part in ("weight", "bias")
        )
    except (KeyError, IndexError, RuntimeError) as error:
        raise WeightsError(f"These are not the weights of MTCNN's {name}: {error}") from error
    return [*found, Layer(weight, bias)]


def _layer(state: Mapping[str, Tensor], key: str, prelu: str, pool: int = 0) -> Layer:
    return Layer(state[f"{key}.weight"], state[f"{key}.bias"], state[f"{prelu}.weight"], pool)


def torch_network(net: list[Layer], device: torch.device) -> Network:
    """Return the network as a function of float32 (N, 3, H, W), 0..255, run by torch on a device.

    P-Net gives (N, 5, h, w), R-Net (N, 5), O-Net (N, 15).
    """
    moved = [
        Layer(at.weight.to(device), at.bias.to(device), None if at.slopes is None else at.slopes.to(device), at.pool)
        for at in net
    ]

    def run(x: Tensor) -> Tensor:
        for at in moved:
            if at.weight.dim() == 4:
                x = F.conv2d(x, at.weight, at.bias)
            else:
                # The first matrix product was trained on columns, rows, channels in this order.
                x = F.linear(x.permute(0, 3, 2, 1).flatten(1) if x.dim() == 4 else x, at.weight, at.bias)
            if at.slopes is not None:
                x = F.prelu(x, at.slopes)
            if at.pool:
                x = F.max_pool2d(x, at.pool, 2, ceil_mode=True)
        return x

    return run


def onnx_model(net: list[Layer]) -> bytes:
    """Return the network as an ONNX model with one input, `x`, and one output; see `torch_network` for the shapes."""
    graph = OnnxGraph({"x": ("n", 3, "h", "w")})
    order: npt.NDArray[np.intp] | None
    x, order = _first(graph, net[0])
    flat = False
    for number, at in enumerate(net[1:], start=1):
        if at.weight.dim() == 2 and not flat:
            (x,), flat = graph.add("Transpose", x, perm=(0, 3, 2, 1)), True
            (x,) = graph.add("Flatten", x)
        if flat:
            (x,) = graph.add("Gemm", x, graph.constant(at.weight.numpy()), graph.constant(at.bias.numpy()), transB=1)
        else:
            weight = _taking(order, at.weight.numpy()) if number == 1 else at.weight.numpy()
            (x,) = graph.add("Conv", x, graph.constant(weight), graph.constant(at.bias.numpy()))
        if at.slopes is not None:
            x = _prelu(graph, x, at.slopes.numpy(), flat=flat)
        if at.pool:
            x = _pooled(graph, x, at.pool)
    last = net[-1].weight
    return graph.model({x: ("n", len(last), "rows", "columns") if last.dim() == 4 else ("n", len(last))})


def _prelu(graph: OnnxGraph, x: str, slopes: npt.NDArray[np.float32], *, flat: bool) -> str:
    held = graph.constant(slopes if flat else slopes[:, None, None])
    if (slopes > 1).any():
        (x,) = graph.add("PRelu", x, held)
        return x
    # The same as PRelu, for which ONNX Runtime has no fast code.
    (scaled,) = graph.add("Mul", x, held)
    (x,) = graph.add("Max", x, scaled)
    return x


def _pooled(graph: OnnxGraph, x: str, kernel: int) -> str:
    (x,) = graph.add("MaxPool", x, kernel_shape=(kernel, kernel), strides=(2, 2), ceil_mode=1)
    return x


def _taking(order: npt.NDArray[np.intp], weight: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return weights for input channels that lie in another order; channel -1 is not looked at."""
    taken = weight[:, order]
    taken[:, order < 0] = 0
    return taken


def _first(graph: OnnxGraph, at: Layer) -> tuple[str, npt.NDArray[np.intp]]:
    """Add the first convolution, its PReLU and its max pool; return the name and which channel lies where.

    The pool comes first, since a PReLU of a quarter of the values takes a quarter of the time. Where the slope is not
    negative the two may be exchanged. Where it is, PReLU is max(y, slope * y), and the maximum over a window is the
    larger of the two maxima; slope * y is a channel of its own of the convolution, which costs little with three
    input channels.
    """
    assert at.slopes is not None
    weight, bias, slopes = at.weight.numpy(), at.bias.numpy(), at.slopes.numpy()
    rising, falling = np.flatnonzero(slopes >= 0), np.flatnonzero(slopes < 0)
    channels = np.concatenate([rising, falling, falling])
    factor = np.concatenate([np.ones(len(slopes), np.float32), slopes[falling]])
    spare = -len(channels) % _BLOCK
    weight = np.pad(weight[channels] * factor[:, None, None, None], ((0, spare), (0, 0), (0, 0), (0, 0)))
    bias = np.pad(bias[channels] * factor, (0, spare))
    (x,) = graph.add("Conv", "x", graph.constant(weight), graph.constant(bias))
    sizes = [len(rising), len(falling), len(falling), *([spare] if spare else [])]
    a, b, c, *_ = graph.add(
        "Split", _pooled(graph, x, at.pool), graph.constant(np.array(sizes)), outputs=len(sizes), axis=1
    )
    a = _prelu(graph, a, slopes[rising], flat=False)
    (b,) = graph.add("Max", b, c)
    # Filled up to whole blocks with what is at hand.
    fill = -len(slopes) % _BLOCK
    parts = [a, b]
    if fill:
        parts += graph.add("Slice", c, *(graph.constant(np.array([n])) for n in (0, fill, 1)))
    (x,) = graph.add("Concat", *parts, axis=1)
    return x, np.concatenate([rising, falling, np.full(fill, -1)])
