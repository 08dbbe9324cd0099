"""Within-class covariance normalisation of a recogniser, put into its last layer.

What a camera does to a vector it does in the same directions to everybody's. A linear map makes those directions as
narrow as the others, about a common centre, and so parts people better that a bad picture has brought together (Hatch,
Kajarekar and Stolcke, Interspeech 2006; there a class is a speaker, here a face, well and badly seen).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.fusion import fuse_linear_bn_weights

Matrix = npt.NDArray[np.float64]

_NORM = ("running_mean", "running_var", "weight", "bias")
# Of torch's batch norms.
_EPS = 1e-5


def normaliser(
    original: Matrix, seen: Sequence[Matrix], weights: Sequence[float], ridge: float
) -> tuple[Matrix, Matrix]:
    """Return a symmetric matrix (D, D) and a centre (D,): a vector v becomes `matrix @ (v - centre)`.

    The matrix is the inverse root of the covariance of what seeing badly adds to a vector, of determinant 1. The centre
    lies halfway between the mean of the originals and that of the others.

    Args:
        original: (N, D) vectors of faces, of any length.
        seen: (N, D) of the same faces, one array for each way in which they are seen badly.
        weights: of these ways.
        ridge: share of the mean variance that is added to every variance, above 0.
    """
    middle = original.mean(axis=0)
    added = [np.cov((some - some.mean(axis=0) - (original - middle)).T) for some in seen]
    within = np.average(added, axis=0, weights=weights)
    variances, axes = np.linalg.eigh(within)
    variances = np.maximum(variances, 0) + ridge * variances.mean()
    widths = np.sqrt(variances / np.exp(np.log(variances).mean()))
    badly = np.average([some.mean(axis=0) for some in seen], axis=0, weights=weights)
    return (axes / widths) @ axes.T, (middle + badly) / 2


def with_normaliser(state: Mapping[str, Tensor], matrix: Matrix, centre: Matrix) -> dict[str, Tensor]:
    """Return the tensors of a MobileFaceNet whose outputs are `matrix @ (v - centre)` where they were v.

    Its last batch norm becomes a mere addition.
    """
    mean, variance, gain, shift = (state[f"bn.{part}"].double() for part in _NORM)
    folded = fuse_linear_bn_weights(state["linear.weight"].double(), None, mean, variance, _EPS, gain, shift)
    weight, bias = (part.detach().numpy() for part in folded)
    size = len(bias)
    changed = {
        "linear.weight": matrix @ weight,
        "bn.bias": matrix @ (bias - centre),
        "bn.weight": np.full(size, np.sqrt(1 + _EPS)),
        "bn.running_mean": np.zeros(size),
        "bn.running_var": np.ones(size),
    }
    return {**state, **{key: torch.from_numpy(new).to(state[key].dtype) for key, new in changed.items()}}
