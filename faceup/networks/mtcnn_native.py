"""Writes the networks of MTCNN for the project's own code in C, `faceup/native/mtcnn.c`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceup.native.mtcnn import MtcnnInC
from faceup.networks._native_writer import Numbers, filled_up, in_panels, winograd
from faceup.networks.mtcnn import Layer, for_planes

# Which convolutions are Winograd's: those of 3 x 3 with channels enough, and tiles that are filled.
_WINOGRAD = {"pnet": (2,), "rnet": (), "onet": (1, 2)}


def mtcnn_in_c(name: str, net: Sequence[Layer]) -> MtcnnInC:
    """Return a network of MTCNN, `pnet`, `rnet` or `onet`, for the code in C."""
    parts: list[Numbers] = []
    channels = 3
    for number, at in enumerate(net):
        weight = at.weight.numpy()
        if number in _WINOGRAD[name]:
            parts.append(winograd(weight))
        elif weight.ndim == 4:  # (O, C, H, W): row by row, and in a row pixel by pixel
            parts.append(in_panels(filled_up(weight.transpose(2, 3, 1, 0).reshape(-1, len(weight)))))
        else:
            if weight.shape[1] != channels:  # the first matrix product
                weight = for_planes(at.weight, channels).permute(0, 2, 3, 1).reshape(weight.shape).numpy()
            parts.append(in_panels(filled_up(weight.T)))
        parts.append(filled_up(at.bias.numpy()))
        if at.slopes is not None:
            parts.append(filled_up(at.slopes.numpy()))
        channels = len(weight)
    return MtcnnInC(name, np.concatenate([np.asarray(part, np.float32).ravel() for part in parts]))
