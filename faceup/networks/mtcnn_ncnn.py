"""The networks of MTCNN for ncnn, whose convolutions are Winograd's where that takes fewer multiplications."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch.nn import functional as F

from faceup.networks._ncnn_writer import INPUT, OUTPUT, NcnnWriter
from faceup.networks.mtcnn import Layer, for_planes

# Names of the input and the output.
ENDS = (INPUT, OUTPUT)
_MAXIMUM, _ROUND_UP = 0, 0
# ncnn's fast convolutions work on blocks of so many channels.
_BLOCK = 8


def ncnn_model(net: Sequence[Layer]) -> tuple[str, bytes]:
    """Return a network's layers as text and its weights.

    It takes one picture (3, H, W), 0..255, and gives what `faceup.networks.mtcnn.torch_network` gives for it:
    (5, h, w), (5,) or (15,).
    """
    convolutions = [at for at in net if at.weight.dim() == 4]
    products = net[len(convolutions) :]
    channels = len(convolutions[-1].weight)
    writer = NcnnWriter()
    x = writer.input()
    for number, at in enumerate(_in_blocks(convolutions)):
        # Three channels are too few for the detours to pay.
        x = _bent(writer, writer.convolution(x, at.weight, at.bias, direct=number == 0), at)
    for number, at in enumerate(products):
        weight = for_planes(at.weight, channels) if number == 0 else at.weight
        x = _bent(writer, writer.product(x, weight, at.bias), at)
    return writer.text(x), bytes(writer.weights)


def _in_blocks(convolutions: Sequence[Layer]) -> list[Layer]:
    """Return the convolutions with channels of zeros, where whole blocks are wanted between them."""
    done, before = [], 0
    for number, at in enumerate(convolutions):
        behind = 0 if number == len(convolutions) - 1 else -len(at.weight) % _BLOCK
        weight = F.pad(at.weight, (0, 0, 0, 0, 0, before, 0, behind))
        slopes = None if at.slopes is None else F.pad(at.slopes, (0, behind))
        done.append(replace(at, weight=weight, bias=F.pad(at.bias, (0, behind)), slopes=slopes))
        before = behind
    return done


def _bent(writer: NcnnWriter, x: str, at: Layer) -> str:
    if at.slopes is not None:
        x = writer.prelu(x, at.slopes)
    if at.pool:
        x = writer.add("Pooling", [x], {0: _MAXIMUM, 1: at.pool, 2: 2, 5: _ROUND_UP})
    return x
