"""What a training learns: `SrTask`, a super-resolution network on clean or on camera pictures.

A task has a network, gives the loss of a step, measures the network on the validation set, and says what to write down.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceup import networks
from faceup.errors import WeightsError
from faceup.networks.lcge import Lcge
from faceup.train.course import Course
from faceup.train.data import PairSet, files_sha256, numbered_files
from faceup.train.degrade import make_ranges
from faceup.train.exemplars import add_bank, faces_for_bank
from faceup.train.faces import FaceSet, SurveillanceSet, jittered
from faceup.train.identity import IdentityTerm, aligned_faces
from faceup.train.likeness import bank_of, unlikeness
from faceup.train.machine import CPU, Batches, Machine, ahead
from faceup.train.recipe import TrainRecipe
from faceup.weights import store

# Widths of the face box in LR pixels at which every validation face is measured.
VALIDATION_FACE_PX = (18.0, 24.0, 34.0)
# So many batches give the batch norms their statistics before a validation.
NORM_BATCHES = 40


class Task(Protocol):
    """What the loop needs to know of a training.

    Attributes:
        net: what is trained.
        columns: names of what `measure` finds, in the order of curves.csv.
        score: the column by which the best step is chosen; higher is better.
        sizes: numbers of training and of validation pictures.
        metadata: strings that the weights carry.
        inputs_sha256: sha256 of what the training reads, by what it is: pictures and weights.
        batches: what the steps learn from.
    """

    net: nn.Module
    columns: tuple[str, ...]
    score: str
    sizes: tuple[int, int]
    metadata: dict[str, str]
    inputs_sha256: dict[str, str]
    batches: Batches[Any]

    def loss(self, forward: Callable[..., Tensor], step: int) -> Tensor:
        """Return the loss of a step."""

    def inputs(self) -> Iterator[Tensor]:
        """Yield some batches of what the network takes, from which batch norms learn their statistics."""

    def measure(self, state: Mapping[str, Tensor]) -> dict[str, float]:
        """Return what weights, as `shipped` gives them, reach on the validation set."""

    def shipped(self, net: nn.Module) -> dict[str, Tensor]:
        """Return the tensors of a network as they are written."""

    def finish(self, weights: Path) -> None:
        """Add to the written weights what only the end of a training can."""

    def about(self, best: Mapping[str, float]) -> dict[str, Any]:
        """Return what training.json says beyond what all trainings say."""


class SrTask:
    """A super-resolution network: L1, and with `surveillance` maybe the identity term."""

    def __init__(self, recipe: TrainRecipe, folder: Path, cache: Path, machine: Machine = CPU) -> None:
        self.recipe, self.machine = recipe, machine
        r, surveillance = recipe, recipe.degradation == "surveillance"
        self.net = self._built()
        self.inputs_sha256 = pictures_sha256(folder, recipe)
        if recipe.start:
            self.inputs_sha256["start"] = start_from(self.net, recipe.start)
        self.net.to(machine.device)
        # LCGE also gets the facial components of every crop.
        components = self.net.config if isinstance(self.net, Lcge) else None

        def read(first: int, last: int) -> PairSet | SurveillanceSet:
            if surveillance:
                faces = FaceSet(folder, first, last, cache=cache)
                return SurveillanceSet(faces, r.scale, make_ranges(r.degradation_ranges), mix=r.mix)
            return PairSet(folder, first, last, recipe.scale, components=components)

        self.train_set, self.validation_set = read(*recipe.train), read(*recipe.validation)
        self.identities = [IdentityTerm(name, machine.device) for name in r.recognizers if surveillance]
        if r.identity:
            several = len(self.identities) > 1
            for name, term in zip(r.recognizers, self.identities, strict=True):
                self.inputs_sha256[f"recognizer {name}" if several else "recognizer"] = term.sha256
        if r.exemplars and isinstance(self.train_set, PairSet):
            faces_for_bank(
                self.train_set, r.exemplars
            )  # Nobody is to learn after the last step that there are too few.
        self.columns: tuple[str, ...] = ("psnr", "identity") if surveillance else ("psnr",)
        self.banks = [torch.zeros(0) for _ in self.identities]
        if r.compares_others and isinstance(self.train_set, SurveillanceSet):
            faces = self.train_set.faces
            self.banks = [
                bank_of(term.net, faces, r.bank_blends, r.seed).to(machine.device) for term in self.identities
            ]
        self.score = "identity" if recipe.identity else "psnr"
        self.sizes = len(self.train_set), len(self.validation_set)
        options = json.dumps({**recipe.network_options, "scale": recipe.scale}, sort_keys=True)
        self.metadata = {"network": recipe.network, "options": options}
        drawn_from = self.train_set
        self.batches: Batches[Any] = ahead(
            lambda step: drawn_from.batch(step, seed=r.seed, size=r.batch, patch=r.patch), r.steps, machine
        )

    def _built(self) -> nn.Module:
        return networks.build(self.recipe.network, self.recipe.network_options, self.recipe.scale)

    def loss(self, forward: Callable[..., Tensor], step: int) -> Tensor:
        """Return L1 in grey levels, with the weighted identity term where the recipe has one."""
        r = self.recipe
        inputs, hr, *faces = self.batches.get(step)
        out = forward(*(self.machine.put(part) for part in inputs))
        loss = F.l1_loss(out, self.machine.put(hr))
        if r.identity and step >= r.identity_from:
            landmarks, originals = faces
            rng = np.random.default_rng((r.seed, step, 1))
            found = np.stack([jittered(points, r.alignment_jitter, rng) for points in landmarks])
            aligned, originals = aligned_faces(out.clamp(0, 255), found), self.machine.put(originals)
            for term, bank in zip(self.identities, self.banks, strict=True):
                unlike = unlikeness(r, *term.vectors(aligned, originals), bank)
                loss = loss + r.identity / len(self.identities) * unlike
        return loss

    def inputs(self) -> Iterator[Tensor]:
        """Yield LR crops that no step has."""
        r = self.recipe
        for i in range(NORM_BATCHES):
            yield self.train_set.batch(i, seed=r.seed + 1, size=r.batch, patch=r.patch)[0][0]

    def measure(self, state: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the mean PSNR, and for `surveillance` the mean cosine of super-resolved and original faces."""
        with torch.random.fork_rng(devices=[]):  # a new network draws its weights
            net = self._built()
        net.load_state_dict(state)
        if isinstance(self.validation_set, PairSet):
            return {"psnr": validation_psnr(net.eval(), self.validation_set)}
        net.to(self.machine.device).eval()
        psnr, cosines = [], []
        for n in range(len(self.validation_set)):
            for width in VALIDATION_FACE_PX:
                inputs, hr, landmarks, originals = self.validation_set.fixed(n, width)
                with torch.inference_mode():
                    out = net(*(self.machine.put(part) for part in inputs)).clamp(0, 255).round()
                    aligned, originals = aligned_faces(out, landmarks), self.machine.put(originals)
                    cosines += [float(term.cosines(aligned, originals)[0]) for term in self.identities]
                psnr.append(_psnr(out[0].cpu().numpy(), hr[0].numpy()))
        return {"psnr": float(np.mean(psnr)), "identity": float(np.mean(cosines))}

    def shipped(self, net: nn.Module) -> dict[str, Tensor]:
        """Return the network's own tensors."""
        return {key: value.cpu().contiguous() for key, value in net.state_dict().items()}

    def finish(self, weights: Path) -> None:
        """Add the bank of LCGE."""
        if self.recipe.exemplars and isinstance(self.train_set, PairSet):
            add_bank(weights, self.train_set, self.recipe.exemplars)

    def about(self, best: Mapping[str, float]) -> dict[str, Any]:
        """Return the measures of the best step, and what only some trainings have."""
        told: dict[str, Any] = {"best_validation_psnr_db": round(best.get("psnr", -1.0), 4)}
        if "identity" in best:
            told["best_validation_identity"] = round(best["identity"], 4)
        if isinstance(self.train_set, SurveillanceSet):
            told["training_pictures_without_a_face"] = self.train_set.faces.left_out
        return told


def pictures_sha256(folder: Path, recipe: Course) -> dict[str, str]:
    """Return the hashes of the training and of the validation pictures."""
    parts = {"train": recipe.train, "validation": recipe.validation}
    return {part: files_sha256(numbered_files(folder, *numbers)) for part, numbers in parts.items()}


def start_from(net: nn.Module, start: str) -> str:
    """Fill a network with weights of the catalogue or of a file and return the sha256 of what was loaded.

    Raises:
        WeightsError: missing, damaged, or of another shape.
    """
    loaded = store.load_named(start)
    try:
        net.load_state_dict(loaded.tensors)
    except RuntimeError as error:
        raise WeightsError(f"start: {loaded.name} does not fit the recipe's network: {error}") from error
    return loaded.sha256


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
