"""Writes SISN's weights for the project's own code in C, `faceup/native/sisn.c`.

    made = sisn_in_c(net)       for a network whose head and norms are folded

The 3 x 3 convolutions of the body become Winograd's F(4, 3) (Lavin and Gray 2016), and the tail, which is affine, one
5 x 5 convolution on the LR features: at any scale it reaches no further than two LR pixels. Near the border its layers
pad with zeros in grids of their own, so the first two and the last two rows and columns have kernels of their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor, nn

from faceup.native.sisn import KINDS, Shape, SisnInC
from faceup.networks._common import UntranslatableError, as_array
from faceup.networks._native_writer import LANES, PANEL, Numbers, filled_up, in_panels, whole_panels, winograd
from faceup.networks.sisn import AttentionGroup, Sisn, SplitAttention, SplitAttentionBlock

# How far the tail's kernel reaches, in all: two pixels to both sides.
_REACH = 5


def sisn_in_c(net: Sisn) -> SisnInC:
    """Return what the code in C takes of a network whose head and norms are folded.

    Raises:
        UntranslatableError: the network has another structure than that of the public code, or channels that do not
            fill the C code's vectors.
    """
    config = net.config
    if (config.structure, config.detail, config.head) != ("isab", "isa", "direct"):
        raise UntranslatableError("only the public code's structure is written in C")
    if config.channels % PANEL or config.channels // config.radix % LANES:
        raise UntranslatableError(f"{config.channels} channels in {config.radix} splits do not fill its vectors")
    first: Any = net.head[1]
    kernels = as_array(first.weight).transpose(2, 3, 1, 0).reshape(-1, config.channels)
    parts = [in_panels(kernels), as_array(first.bias)]
    groups: Any = net.body[:-1]
    for group in groups:
        parts += _group(group)
    last: Any = net.body[-1]
    parts += [winograd(as_array(last.weight)), as_array(last.bias), *_tail(net)]
    outputs = parts[-1].shape[-1]
    hidden = whole_panels(groups[0].IA.conv2.conv1x1_1.out_channels)
    return SisnInC(
        shape=Shape(config.groups, config.blocks, config.channels, config.radix, hidden, outputs),
        weights=np.concatenate([np.asarray(part, np.float32).ravel() for part in parts]),
        colours=as_array(net.sub_mean.weight)[:, :, 0, 0].T / config.unit,
        shift=as_array(net.sub_mean.bias) / config.unit,
        scale=config.scale,
        skip=config.skip == "bicubic",
    )


def _matrix(weight: Tensor) -> Numbers:
    """Return a 1 x 1 convolution (out, in, 1, 1) as a matrix (in, out) in panels."""
    return in_panels(as_array(weight)[:, :, 0, 0].T)


def _group(group: AttentionGroup) -> Iterator[Numbers]:
    body: Any = group.body
    *blocks, conv = body
    for block in (*blocks, group.IA):
        yield from _block(block)
    yield winograd(as_array(conv.weight))
    yield as_array(conv.bias)


def _block(block: SplitAttentionBlock) -> Iterator[Numbers]:
    attention = block.conv2
    assert isinstance(attention, SplitAttention)
    # The hidden channels that fill the last panel are 0 behind their ReLU.
    first, second = as_array(attention.conv1x1_1.weight)[:, :, 0, 0], as_array(attention.conv1x1_2.weight)[:, :, 0, 0]
    spare = -len(first) % PANEL
    yield from (_matrix(block.conv1.weight), as_array(block.conv1.bias))
    yield from (winograd(as_array(split)) for split in attention.conv.weight.chunk(attention.radix))
    yield as_array(attention.conv.bias)
    yield in_panels(filled_up(first.T))
    yield filled_up(as_array(attention.conv1x1_1.bias))
    yield in_panels(np.pad(second, [(0, 0), (0, spare)]).T)
    yield as_array(attention.conv1x1_2.bias)
    yield from (_matrix(block.conv3.weight), as_array(block.conv3.bias))


def _tail(net: Sisn) -> tuple[Numbers, Numbers]:
    """Return the tail's kernels (5, 5, 5, outputs / 16, 5 * C, 16) and biases (5, 5, outputs) for every kind of pixel.

    `outputs` is s * s * 3, filled up: the rows of the pixel's block, in them its columns, in them the colours.
    """
    tail: Any = net.tail
    upsampler, last = tail
    kernels: Numbers = np.zeros((KINDS, KINDS, _REACH, _REACH, net.config.channels, 3))
    kernels[:, :, 1:4, 1:4] = as_array(last.weight).transpose(2, 3, 1, 0)
    biases: Numbers = np.broadcast_to(as_array(last.bias), (KINDS, KINDS, 3))
    for layer in reversed([layer for layer in upsampler if isinstance(layer, nn.Conv2d)]):
        kernels, biases = _behind(layer, kernels, biases)
    kernels, biases = kernels * net.config.unit, biases * net.config.unit
    if net.config.skip == "none":
        mixed = as_array(net.add_mean.weight)[:, :, 0, 0].T
        kernels = (kernels.reshape(-1, 3) @ mixed).reshape(kernels.shape)
        biases = (biases.reshape(-1, 3) @ mixed + as_array(net.add_mean.bias)).reshape(biases.shape)
    rows = kernels.reshape(KINDS, KINDS, _REACH, _REACH * net.config.channels, -1)
    return in_panels(filled_up(rows)), filled_up(biases)


def _behind(layer: nn.Conv2d, kernels: Numbers, biases: Numbers) -> tuple[Numbers, Numbers]:
    """Return the kernels and biases of a 3 x 3 convolution, a pixel shuffle of 2 and what follows them.

    They are those of the pixels of a 5 x 5 picture: its row i is of kind i, and the middle one has all neighbours.

    Args:
        layer: (C, 4 * C).
        kernels: of what follows, (5, 5, 5, 5, C, outputs).
        biases: likewise, (5, 5, outputs).
    """
    c, outputs, wide = layer.in_channels, kernels.shape[-1], 2 * KINDS
    side = math.isqrt(outputs // 3)
    # By place in the block that a pixel becomes.
    weight = as_array(layer.weight).astype(np.float64).reshape(c, 2, 2, c, 3, 3).transpose(1, 2, 4, 5, 3, 0)
    bias = as_array(layer.bias).reshape(c, 2, 2).transpose(1, 2, 0)
    found = np.zeros((KINDS, KINDS, _REACH, _REACH, c, 2, side, 2, side, 3))
    constant = np.zeros((KINDS, KINDS, 2, side, 2, side, 3))
    for y, x in np.ndindex(wide, wide):
        (row, a), (column, b), kinds = divmod(y, 2), divmod(x, 2), (_kind(y, wide), _kind(x, wide))
        constant[row, column, a, :, b] += biases[kinds].reshape(side, side, 3)
        for dy, dx in np.ndindex(_REACH, _REACH):
            near_y, near_x, kernel = y + dy - 2, x + dx - 2, kernels[kinds][dy, dx]
            if not (0 <= near_y < wide and 0 <= near_x < wide):
                continue
            (top, i), (left, j) = divmod(near_y, 2), divmod(near_x, 2)
            constant[row, column, a, :, b] += (bias[i, j] @ kernel).reshape(side, side, 3)
            # What the convolution takes of pixels in the picture, and how far they are from this one.
            rows, columns = (slice(max(0, 1 - at), min(3, KINDS + 1 - at)) for at in (top, left))
            far = [
                slice(at - 1 - here + 2 + some.start, at - 1 - here + 2 + some.stop)
                for at, here, some in ((top, row, rows), (left, column, columns))
            ]
            made = weight[i, j, rows, columns] @ kernel
            found[row, column, far[0], far[1], :, a, :, b] += made.reshape(*made.shape[:3], side, side, 3)
    return found.reshape(*found.shape[:5], -1), constant.reshape(KINDS, KINDS, -1)


def _kind(i: int, length: int) -> int:
    """Return which kind a row, or column, of a picture is of; see `kind` of the C code."""
    return min(i, 2) if i < length - 2 else i - (length - KINDS)
