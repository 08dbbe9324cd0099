"""The networks of MTCNN for ncnn, whose convolutions are Winograd's where that takes fewer multiplications."""

from __future__ import annotations

from collections.abc import Sequence

from faceup.networks._ncnn_writer import INPUT, OUTPUT, NcnnWriter
from faceup.networks.mtcnn import Layer, for_planes

# Names of the input and the output.
ENDS = (INPUT, OUTPUT)
_MAXIMUM, _ROUND_UP = 0, 0


def ncnn_model(net: Sequence[Layer]) -> tuple[str, bytes]:
    """Return a network's layers as text and its weights.

    It takes one picture (3, H, W), 0..255, and gives what `faceup.networks.mtcnn.torch_network` gives for it:
    (5, h, w), (5,) or (15,).
    """
    writer = NcnnWriter()
    x, first, channels = writer.input(), True, 0
    for at in net:
        if at.weight.dim() == 4:
            # Three channels are too few for the detours to pay.
            x, channels = writer.convolution(x, at.weight, at.bias, direct=channels == 0), len(at.weight)
        else:
            x = writer.product(x, for_planes(at.weight, channels) if first else at.weight, at.bias)
            first = False
        if at.slopes is not None:
            x = writer.prelu(x, at.slopes)
        if at.pool:
            x = writer.add("Pooling", [x], {0: _MAXIMUM, 1: at.pool, 2: 2, 5: _ROUND_UP})
    return writer.text(x), bytes(writer.weights)
