"""How the project's own code in C wants weights; `faceup/native/vectors.h` and `winograd.h` tell why."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.floating]

# Columns that the C code computes at a time, and channels in a vector.
PANEL, LANES = 16, 8
# G of F(4, 3), and what it makes of a kernel's rows and columns at once: (36, 9).
_G = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
_BOTH = np.kron(_G, _G)


def whole_panels(count: int) -> int:
    """Return the least multiple of `PANEL` that is no less."""
    return count + -count % PANEL


def filled_up(values: Numbers) -> Numbers:
    """Return the values with as many zeros at the end of the last axis as fill its last panel."""
    spare = -values.shape[-1] % PANEL
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, spare)])


def in_panels(matrix: Numbers) -> Numbers:
    """Return (..., depth, width) as (..., width / 16, depth, 16)."""
    *before, depth, width = matrix.shape
    return matrix.reshape(*before, depth, width // PANEL, PANEL).swapaxes(-3, -2)


def winograd(kernels: Numbers) -> Numbers:
    """Return 3 x 3 kernels (out, in, 3, 3), for F(4, 3) (Lavin and Gray 2016), as 36 matrices (in, out) in panels."""
    out, depth = kernels.shape[:2]
    moved = _BOTH @ kernels.astype(np.float64).reshape(out * depth, 9).T
    return in_panels(moved.reshape(len(_BOTH), out, depth).swapaxes(1, 2))
