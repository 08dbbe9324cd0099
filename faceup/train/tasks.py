"""What a recipe trains on, from and for: its pictures, the weights it begins with, its measure on the validation set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from faceup.errors import WeightsError
from faceup.train.data import PairSet
from faceup.train.degrade import make_ranges
from faceup.train.faces import FaceSet, SurveillanceSet
from faceup.train.identity import IdentityTerm
from faceup.train.recipe import TrainRecipe
from faceup.weights import store

# Widths of the face box in LR pixels at which every validation face is measured.
VALIDATION_FACE_PX = (18.0, 24.0, 34.0)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a validation found.

    Attributes:
        psnr: mean in dB: RGB, uint8 after rounding, no border cut.
        identity: mean cosine between the embeddings of super-resolved and original faces; None for `bicubic`.
    """

    psnr: float
    identity: float | None = None


def training_set(recipe: TrainRecipe, folder: Path, first: int, last: int, *, cache: Path) -> PairSet | SurveillanceSet:
    """Read the pictures of a recipe.

    Raises:
        DataError: pictures are missing, differ in size, or show no face.
    """
    if recipe.degradation == "surveillance":
        faces = FaceSet(folder, first, last, cache=cache)
        return SurveillanceSet(faces, recipe.scale, make_ranges(recipe.degradation_ranges))
    return PairSet(folder, first, last, recipe.scale, with_faces=recipe.components)


def start_from(net: nn.Module, start: str) -> str:
    """Fill a network with weights of the catalogue or of a file and return the sha256 of what was loaded.

    Raises:
        WeightsError: missing, damaged, or of another shape.
    """
    loaded = store.load_file(Path(start)) if Path(start).is_file() else store.load(start)
    try:
        net.load_state_dict(loaded.tensors)
    except RuntimeError as error:
        raise WeightsError(f"start: {loaded.name} does not fit the recipe's network: {error}") from error
    return loaded.sha256


def measured(net: nn.Module, pairs: PairSet | SurveillanceSet, identity: IdentityTerm | None) -> Measured:
    """Measure a network on the validation set."""
    if isinstance(pairs, PairSet):
        return Measured(validation_psnr(net, pairs))
    assert identity is not None
    psnr, cosines = [], []
    for n in range(len(pairs)):
        for width in VALIDATION_FACE_PX:
            inputs, hr, landmarks, originals = pairs.fixed(n, width)
            with torch.inference_mode():
                out = net(*inputs).clamp(0, 255).round()
                cosines.append(float(identity.cosines(out, landmarks, originals)[0]))
            psnr.append(_psnr(out[0].numpy(), hr[0].numpy()))
    return Measured(float(np.mean(psnr)), float(np.mean(cosines)))


def validation_psnr(net: nn.Module, pairs: PairSet) -> float:
    """Return the mean PSNR in dB over whole pictures: RGB, uint8 after rounding, no border cut."""
    values = []
    for n, hr in enumerate(pairs.hr):
        with torch.inference_mode():
            out = net(*pairs.whole(n))[0].clamp(0, 255).round()
        values.append(_psnr(out.numpy(), hr.transpose(2, 0, 1)))
    return float(np.mean(values))


def _psnr(out: np.ndarray, hr: np.ndarray) -> float:
    mse = float(np.mean((out - hr.astype(np.float64)) ** 2))
    return float(10 * np.log10(255.0**2 / max(mse, 1e-12)))
