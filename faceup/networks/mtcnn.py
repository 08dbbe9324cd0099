"""The three networks of MTCNN (arXiv 1604.02878) with the weights of facenet-pytorch, for torch and ONNX Runtime.

`faceup.networks.mtcnn_native` writes them for the code in C. All compute what facenet-pytorch's `PNet`, `RNet` and
`ONet` compute, up to the rounding of floats, with two changes. The input is grey levels as they are: the first layer's
weights shift and scale them. Of the two numbers that a softmax would compare the difference is given. So a network has
one output of 1 + 4 numbers, O-Net of 1 + 4 + 10: the logit of a face, corrections of the box's edges, x of the five
landmarks, y of the five landmarks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from faceup.errors import WeightsError
from faceup.networks._onnx_graph import OnnxGraph
from faceup.networks._onnx_prelu import add_bend, add_prelu
from faceup.types import Floats

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


def for_planes(weight: Tensor, channels: int) -> Tensor:
    """Return the weights (O, C, H, W) of the first matrix product for channels, rows, columns in this order.

    It was trained on columns, rows, channels, (O, W * H * C); H and W are equal.
    """
    side = math.isqrt(weight.shape[1] // channels)
    return weight.reshape(-1, side, side, channels).permute(0, 3, 2, 1)


def onnx_model(net: list[Layer]) -> bytes:
    """Return the network as an ONNX model with one input, `x`, and one output; see `torch_network` for the shapes.

    Raises:
        WeightsError: a slope is 1 or more where that cannot be computed this way; no slope of MTCNN's is there.
    """
    graph = OnnxGraph({"x": ("n", 3, "h", "w")})
    x, channels = _first(graph, net[0])
    convolutions = [at for at in net[1:] if at.weight.dim() == 4]
    for at in convolutions:
        held = graph.constant(_taking(at.weight.numpy(), channels)), graph.constant(at.bias.numpy())
        (x,) = graph.add("Conv", x, *held)
        if at.slopes is not None:
            x, factor = add_bend(graph, x, _below_one(at.slopes))
            channels = np.diag(factor)
        if at.pool:
            x = _pooled(graph, x, at.pool)
    for number, at in enumerate(net[1 + len(convolutions) :]):
        weight = at.weight.numpy()
        if number == 0:
            (x,) = graph.add("Flatten", x)
            weight = _taking(for_planes(at.weight, len(channels)).numpy(), channels).reshape(weight.shape)
        (x,) = graph.add("Gemm", x, graph.constant(weight), graph.constant(at.bias.numpy()), transB=1)
        if at.slopes is not None:
            x = add_prelu(graph, x, _below_one(at.slopes))
    last = net[-1].weight
    return graph.model({x: ("n", len(last), "rows", "columns") if last.dim() == 4 else ("n", len(last))})


def _first(graph: OnnxGraph, at: Layer) -> tuple[str, Floats]:
    """Add the first convolution, its PReLU and its max pool.

    The pool comes first where it can, since a PReLU of a quarter of the values takes a quarter of the time. The two may
    be exchanged where the slope is not negative. Where it is negative, the pool of the PReLU is the greater of two: the
    pool of the values and the pool of the values times the slope.

    Returns:
        The name of the result, and the layer's channels (C, D) as sums of those D that the result has.
    """
    assert at.slopes is not None
    slopes, weight, bias = at.slopes.numpy(), at.weight.numpy(), at.bias.numpy()
    if _whole_blocks(len(slopes) + int((slopes < 0).sum())) == _whole_blocks(len(slopes)):
        return _first_as_one(graph, at.pool, weight, bias, slopes)
    return _first_as_two(graph, at.pool, weight, bias, slopes)


def _first_as_one(graph: OnnxGraph, pool: int, weight: Floats, bias: Floats, slopes: Floats) -> tuple[str, Floats]:
    """Add it as one convolution, in which every negative slope has a second channel.

    What follows is relu(Az) + bz of its pooled channels z: with a channel u and its second one v, max(u, v) =
    relu(u - v) + v stands in the second one's place, and alone it is relu((1 - a) u) + a u, or, where the slope a is
    above 1, relu((a - 1) u) - a u, the negative of what is wanted.
    """
    negative = np.flatnonzero(slopes < 0)
    count, width = len(slopes), _whole_blocks(len(slopes) + len(negative))
    spare = width - count - len(negative)
    kernels = np.concatenate([weight, weight[negative] * slopes[negative, None, None, None]])
    biases = np.concatenate([bias, bias[negative] * slopes[negative]])
    held = np.pad(kernels, ((0, spare), (0, 0), (0, 0), (0, 0))), np.pad(biases, (0, spare))
    (x,) = graph.add("Conv", "x", *(graph.constant(values) for values in held))
    x = _pooled(graph, x, pool)
    place = np.arange(count)
    place[negative] = np.arange(count, count + len(negative))
    bent, straight, channels = (np.zeros(shape, np.float32) for shape in ((width, width), width, (count, width)))
    for channel, (slope, at) in enumerate(zip(slopes, place, strict=True)):
        sign = -1 if slope > 1 else 1
        channels[channel, at] = sign
        bent[at, channel] = 1 if slope < 0 else sign * (1 - slope)
        if slope < 0:
            bent[at, at] = -1
        straight[at] = 1 if slope < 0 else sign * slope
    (rising,) = graph.add("Conv", x, graph.constant(bent[:, :, None, None]))
    (rising,) = graph.add("Relu", rising)
    (x,) = graph.add("Conv", x, graph.constant(straight[:, None, None, None]), group=width)
    (x,) = graph.add("Add", x, rising)
    return x, channels


def _first_as_two(graph: OnnxGraph, pool: int, weight: Floats, bias: Floats, slopes: Floats) -> tuple[str, Floats]:
    """Add it as two convolutions, where second channels would need more blocks than there are.

    They are of the channels whose pool comes first and of the others, the latter with as many of the former as fill a
    block.
    """
    ascending = np.argsort(slopes, kind="stable")
    late = _whole_blocks(int((slopes < 0).sum()))
    parts, sums = [], []
    for chosen, pool_first in ((ascending[late:], True), (ascending[:late], False)):
        if not len(chosen):
            continue
        spare = _whole_blocks(len(chosen)) - len(chosen)
        kernels = np.pad(weight[chosen], ((0, spare), (0, 0), (0, 0), (0, 0)))
        bent = np.pad(slopes[chosen], (0, spare))
        (x,) = graph.add("Conv", "x", graph.constant(kernels), graph.constant(np.pad(bias[chosen], (0, spare))))
        if pool_first:
            x, factor = add_bend(graph, _pooled(graph, x, pool), bent)
        else:
            x, factor = add_bend(graph, x, _below_one(bent))
            x = _pooled(graph, x, pool)
        parts.append(x)
        share = np.zeros((len(slopes), len(bent)), np.float32)
        share[chosen, np.arange(len(chosen))] = factor[: len(chosen)]
        sums.append(share)
    (x,) = graph.add("Concat", *parts, axis=1)
    return x, np.concatenate(sums, axis=1)


def _pooled(graph: OnnxGraph, x: str, kernel: int) -> str:
    (x,) = graph.add("MaxPool", x, kernel_shape=(kernel, kernel), strides=(2, 2), ceil_mode=1)
    return x


def _taking(weight: Floats, channels: Floats) -> Floats:
    """Return weights (O, C, H, W) for an input of which the C channels that they want are sums (C, D)."""
    return np.einsum("ochw,cd->odhw", weight, channels)


def _below_one(slopes: Tensor | Floats) -> Floats:
    values = np.asarray(slopes, np.float32)
    if (values >= 1).any():
        raise WeightsError("These are not MTCNN's weights: a PReLU has a slope of 1 or more.")
    return values


def _whole_blocks(channels: int) -> int:
    return -(-channels // _BLOCK) * _BLOCK
