"""Writes SISN's weights for the project's own code in C, `faceup/native/sisn.c`.

    made = sisn_in_c(net)       for a network whose head and norms are folded

The 3 x 3 convolutions of the body become Winograd's F(4, 3) (Lavin and Gray 2016), and the tail, which is affine, one
5 x 5 convolution on the LR features: at any scale it reaches no further than two LR pixels. Near the border its layers
pad with zeros in grids of their own, so the first two and the last two rows and columns have kernels of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from faceup.native.sisn import KINDS, Shape, SisnInC
from faceup.networks._common import UntranslatableError, as_array
from faceup.networks._native_writer import LANES, PANEL, Numbers, filled_up, in_panels, whole_panels, winograd
from faceup.networks.sisn import AttentionGroup, Sisn, SplitAttention, SplitAttentionBlock

# How far the tail's kernel reaches, in all: two pixels to both sides.
_REACH = 5


def sisn_in_c(net: Sisn) -> SisnInC:
    """Return a network whose head and norms are folded.

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

    They are what the tail makes of 5 x 5 pictures that are 1 in one channel of one pixel: row i of such a picture is
    of kind i, and the middle one has all its neighbours. `outputs` is s * s * 3, filled up.
    """
    c, s = net.config.channels, net.config.scale
    with torch.inference_mode():
        empty, single = torch.zeros(1, c, KINDS, KINDS), torch.eye(c * KINDS**2).view(-1, c, KINDS, KINDS)
        bias = net.enlarge(empty)
        # In portions, whose features stay in the cache, and before the mean is added, beside which they are small.
        made = torch.cat([net.tail(some) - net.tail(empty) for some in torch.split(single, 64)]) * net.config.unit
        if net.config.skip == "none":
            made = F.conv2d(made, net.add_mean.weight)
    answers = made.view(c, KINDS, KINDS, 3, KINDS, s, KINDS, s).numpy()
    outputs = 3 * s * s
    kernels = np.zeros((KINDS, KINDS, _REACH, _REACH, c, whole_panels(outputs)), np.float32)
    for y, x, dy, dx in np.ndindex(KINDS, KINDS, _REACH, _REACH):
        near_y, near_x = y + dy - 2, x + dx - 2
        if 0 <= near_y < KINDS and 0 <= near_x < KINDS:
            answer = answers[:, near_y, near_x, :, y, :, x, :]  # channel, colour, row, column
            kernels[y, x, dy, dx, :, :outputs] = answer.transpose(0, 2, 3, 1).reshape(c, outputs)
    biases = bias.view(3, KINDS, s, KINDS, s).numpy().transpose(1, 3, 2, 4, 0).reshape(KINDS, KINDS, outputs)
    return in_panels(kernels.reshape(KINDS, KINDS, _REACH, _REACH * c, -1)), filled_up(biases)
