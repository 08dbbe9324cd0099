"""Terms of a loss that compare a recogniser's vectors of bad pictures with those of the originals; no identity labels.

Each is on unit vectors: the cosine to the vector of the original; the agreement of the similarities to many other
faces, the batch's and a bank's of all training faces and blends of them; with those similarities as distributions,
their divergence, which pushes the other faces of the bank away; and the excess of the highest of them over those
between the originals, which is what a false match is made of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceup.align import align
from faceup.train.course import LikenessCourse
from faceup.train.data import to_tensor
from faceup.train.faces import Face, FaceSet
from faceup.train.identity import embedded
from faceup.types import Image

# So many faces are embedded at once.
BATCH = 64


def unlikeness(course: LikenessCourse, got: Tensor, wanted: Tensor, bank: Tensor) -> Tensor:
    """Return 1 - the mean cosine plus the terms as a training weighs them.

    Args:
        course: says which terms, and their weights.
        got: unit rows (N, D) of faces as they were seen; gradients reach them.
        wanted: unit rows (N, D) of their originals.
        bank: unit rows (M, D) of other originals, not read where no term needs them.
    """
    loss = 1 - (got * wanted).sum(dim=1).mean()
    if not course.compares_others:
        return loss
    others = torch.cat([bank, wanted])
    similar, should = got @ others.T, wanted @ others.T
    if course.agreement:
        among = ((got @ got.T - wanted @ wanted.T) ** 2).mean()
        loss = loss + course.agreement * (((similar - should) ** 2).mean() + among)
    if course.contrast:
        target = (should / course.temperature).softmax(dim=1)
        found = (similar / course.temperature).log_softmax(dim=1)
        loss = loss + course.contrast * F.kl_div(found, target, reduction="batchmean")
    if course.excess:
        above = F.relu(similar - should.clamp(min=course.excess_from))
        loss = loss + course.excess * (above**2).mean()
    return loss


def embedded_in_parts(net: nn.Module, aligned: Tensor) -> Tensor:
    """Return unit rows of any number of aligned faces, without gradients and in main memory; see `embedded`."""
    device = next(net.parameters()).device
    with torch.no_grad():
        parts = [aligned[i : i + BATCH].to(device) for i in range(0, len(aligned), BATCH)]
        return torch.cat([embedded(net, part).cpu() for part in parts])


def original_vectors(net: nn.Module, faces: Sequence[Face]) -> Tensor:
    """Return unit rows of faces as their pictures show them."""
    return embedded_in_parts(net, to_tensor([align(Image(face.pixels), face.landmarks).pixels for face in faces]))


def bank_of(net: nn.Module, faces: FaceSet, blends: int, seed: int) -> Tensor:
    """Return the vectors of all faces of a set and of blends of them."""
    return original_vectors(net, [*faces.faces, *faces.blends(blends, np.random.default_rng((seed, 1)))])
