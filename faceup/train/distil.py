"""Distillation: a recogniser learns to see in a bad picture of a face what its teacher sees in the original.

No identity is labelled; the terms of the loss are those of `faceup.train.likeness`, with the teacher's vectors of the
originals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from faceup.align import align
from faceup.errors import ConfigError
from faceup.files import whole_or_not_at_all
from faceup.images import resize
from faceup.metrics.separation import d_prime
from faceup.networks.mobilefacenet import load_mobilefacenet
from faceup.networks.sisn import SisnConfig, load_sisn
from faceup.runtime.torch_sr import TorchSr
from faceup.train.data import to_tensor
from faceup.train.degrade import Ranges, degrade, expose, make_ranges
from faceup.train.faces import ROOM, Face, FaceSet, jittered
from faceup.train.identity import embedded_fast, network_input, recogniser
from faceup.train.likeness import BATCH, bank_of, embedded_in_parts, original_vectors, unlikeness
from faceup.train.machine import CPU, Batches, Machine, ahead
from faceup.train.recipe import DistilRecipe
from faceup.train.tasks import NORM_BATCHES, pictures_sha256, start_from
from faceup.train.within import normaliser, with_normaliser
from faceup.types import Image, Pixels
from faceup.weights import store

ENLARGE = 4
# A face wider than this many LR pixels does not go through SR in training: it costs much and changes little.
SR_PX = 48
# Faces wider than this many pixels are not made larger before they are degraded.
SOURCE_PX = 160
# How often every training face is seen at a level, for the normalisation at the end.
WITHIN_DRAWS = 2


@dataclass(frozen=True, slots=True)
class Level:
    """How well the student sees a part of the faces; see `DistilRecipe.levels`."""

    name: str
    share: float
    jitter: float
    ranges: Ranges | None


class DistilSet:
    """Aligned faces in pairs: as the student sees them, and the original for the teacher."""

    def __init__(
        self, faces: FaceSet, levels: Sequence[Level], *, sr: TorchSr | None, sr_share: float, mix: float
    ) -> None:
        self.faces, self.levels, self.sr, self.sr_share, self.mix = faces, levels, sr, sr_share, mix

    def batch(self, step: int, *, seed: int, size: int) -> tuple[Tensor, Tensor]:
        """Return what student and teacher see at a step, each (size, 3, 112, 112); the same step gives the same.

        The levels take turns by their shares, so every step has about as many of each.
        """
        rng = np.random.default_rng((seed, step))
        places = (np.arange(size) + rng.random()) / size
        ends = np.cumsum([level.share for level in self.levels])
        shown = [self.levels[min(int(i), len(self.levels) - 1)] for i in np.searchsorted(ends, places)]
        enlarged = [bool(e) for e in rng.random(size) < self.sr_share]
        return self.pairs([self._draw(rng) for _ in range(size)], shown, enlarged, rng)

    def _draw(self, rng: np.random.Generator) -> Face:
        face = self.faces.draw(rng)
        return self.faces.blend(face, rng) if rng.random() < self.mix else face

    def pairs(
        self, faces: Sequence[Face], levels: Sequence[Level], enlarged: Sequence[bool], rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return what student and teacher see of faces, one level each; `enlarged` says which go through SR."""
        originals = [align(Image(face.pixels), face.landmarks).pixels for face in faces]
        seen: list[Pixels] = []
        waiting: list[tuple[int, Face]] = []
        for face, level, by_network in zip(faces, levels, enlarged, strict=True):
            if level.ranges is None:
                points = jittered(face.landmarks, level.jitter, rng)
                seen.append(align(Image(face.pixels), points).pixels)
                continue
            shot = photographed(face, level.ranges, rng)
            found = Face(shot.pixels, jittered(shot.landmarks, level.jitter, rng), shot.width)
            if by_network and self.sr is not None and shot.width <= SR_PX:
                waiting.append((len(seen), found))
                seen.append(shot.pixels)
            else:
                larger = resize(Image(shot.pixels), shot.pixels.shape[1] * ENLARGE, shot.pixels.shape[0] * ENLARGE)
                seen.append(_aligned(larger, found))
        if waiting:
            assert self.sr is not None
            larger_faces = self.sr.upscale([Image(face.pixels) for _, face in waiting])
            for (place, face), picture in zip(waiting, larger_faces, strict=True):
                seen[place] = _aligned(picture, face)
        return to_tensor(seen), to_tensor(originals)


def photographed(face: Face, ranges: Ranges, rng: np.random.Generator) -> Face:
    """Return a face as a camera with these ranges sees it, at the size that the camera delivers."""
    width = ranges.draw_face_px(rng)
    side = 2 * round(ROOM * width / 2)
    finer = max(1, min(ENLARGE, int(SOURCE_PX / width)))
    crop = face.crop(side * finer, width * finer, rng)
    low = degrade(expose(crop.pixels, ranges, rng), finer, ranges, rng)
    return Face(low, ((crop.landmarks + 0.5) / finer - 0.5).astype(np.float32), width)


def _aligned(larger: Image, face: Face) -> Pixels:
    return align(larger, ((face.landmarks + 0.5) * ENLARGE - 0.5).astype(np.float32)).pixels


class DistilTask:
    """A student of a MobileFaceNet; see `faceup.train.tasks.Task`."""

    def __init__(self, recipe: DistilRecipe, folder: Path, cache: Path, machine: Machine = CPU) -> None:
        self.recipe, self.machine = recipe, machine
        r = recipe
        self.inputs_sha256 = pictures_sha256(folder, recipe)
        teacher = store.load_named(recipe.teacher)
        self.teacher, self.inputs_sha256["teacher"] = recogniser(teacher, machine.device), teacher.sha256
        # Backward, with respect to its weights, the other layout is the quicker one.
        self.net: nn.Module = recogniser(teacher, machine.device).to(memory_format=torch.contiguous_format)
        if recipe.start:
            self.inputs_sha256["start"] = start_from(self.net, recipe.start)
        self.net.requires_grad_(True)
        self.levels = [
            Level(name, value["share"], value.get("jitter", 0.0),
                  make_ranges(value["ranges"]) if "ranges" in value else None)
            for name, value in recipe.levels.items()
        ]  # fmt: skip
        sr = None
        if recipe.sr:
            loaded = store.load_named(recipe.sr)
            self.inputs_sha256["sr"] = loaded.sha256
            options = loaded.metadata.get("options")
            network = load_sisn(loaded.tensors, SisnConfig(**json.loads(options)) if options else None)
            if network.config.scale != ENLARGE:
                raise ConfigError(f"sr: {loaded.name} enlarges {network.config.scale} times, {ENLARGE} are needed.")
            sr = TorchSr(network, ENLARGE, "cpu")
        self.train_set, self.validation_set = (
            DistilSet(FaceSet(folder, *numbers, cache=cache), self.levels, sr=sr, sr_share=r.sr_share, mix=r.mix)
            for numbers in (recipe.train, recipe.validation)
        )
        self.sizes = len(self.train_set.faces), len(self.validation_set.faces)
        self.columns = (*(level.name for level in self.levels), "mean", "rank1", "dprime")
        self.score = recipe.score
        self.normalised: dict[str, float] = {}
        self.metadata = {"network": "mobilefacenet"}
        self.bank = bank_of(self.teacher, self.train_set.faces, r.bank_blends, r.seed).to(machine.device)
        drawn_from = self.train_set
        self.batches: Batches[Any] = ahead(
            lambda step: drawn_from.batch(step, seed=r.seed, size=r.batch), r.steps, machine
        )

    def loss(self, forward: Callable[..., Tensor], step: int) -> Tensor:
        """Return the weighted sum of the terms."""
        seen, originals = (self.machine.put(part) for part in self.batches.get(step))
        with torch.no_grad():
            wanted = embedded_fast(self.teacher, originals)
        got = F.normalize(forward(network_input(seen)))
        return unlikeness(self.recipe, got, wanted, self.bank)

    def inputs(self) -> Iterator[Tensor]:
        """Yield what the student sees at steps that the training has not."""
        for i in range(NORM_BATCHES):
            yield network_input(self.train_set.batch(i, seed=self.recipe.seed + 1, size=self.recipe.batch)[0])

    def measure(self, state: Mapping[str, Tensor]) -> dict[str, float]:
        """Return mean cosines to the teacher's vectors by level, their mean, and rank-1 and d' of the last level.

        For these two a gallery of all validation and training originals is seen by the same network.
        """
        net = load_mobilefacenet(state).to(self.machine.device)
        faces = self.validation_set.faces.faces
        wanted = original_vectors(self.teacher, faces)
        found: dict[str, float] = {}
        seen = torch.zeros(0)
        for level in self.levels:
            rng = np.random.default_rng(0)
            by_network = [n % 2 == 1 and self.recipe.sr_share > 0 for n in range(len(faces))]
            seen, _ = self.validation_set.pairs(faces, [level] * len(faces), by_network, rng)
            found[level.name] = float((embedded_in_parts(net, seen) * wanted).sum(dim=1).mean())
        found["mean"] = float(np.mean(list(found.values())))
        gallery = torch.cat([original_vectors(net, faces), original_vectors(net, self.train_set.faces.faces)])
        similar = embedded_in_parts(net, seen) @ gallery.T
        own = torch.eye(*similar.shape, dtype=torch.bool)
        found["rank1"] = float((similar.argmax(dim=1) == torch.arange(len(faces))).float().mean())
        found["dprime"] = d_prime(similar[own].numpy(), similar[~own].numpy())
        return found

    def shipped(self, net: nn.Module) -> dict[str, Tensor]:
        """Return the mean of student and teacher as the recipe weighs them, as fp16 if it says so."""
        share, old = self.recipe.teacher_share, self.teacher.state_dict()
        mixed = {
            key: (1 - share) * value + share * old[key] if value.is_floating_point() else value
            for key, value in net.state_dict().items()
        }
        half = self.recipe.half
        return {
            key: (value.half() if half and value.is_floating_point() else value).cpu().contiguous().clone()
            for key, value in mixed.items()
        }

    def finish(self, weights: Path) -> None:
        """Normalise what the written weights make of faces, if the recipe says so and they are not so already."""
        if not self.recipe.within:
            return
        loaded = store.load_file(weights)
        state = dict(loaded.tensors)
        if "within" not in loaded.metadata:
            net = load_mobilefacenet(state).to(self.machine.device)
            faces = self.train_set.faces.faces
            rng = np.random.default_rng((self.recipe.seed, 2))
            badly = [level for level in self.levels if level.ranges is not None for _ in range(WITHIN_DRAWS)]
            seen = [self._vectors_at(net, faces, level, rng) for level in badly]
            originals = self._vectors_at(net, faces, Level("original", 1.0, 0.0, None), rng)
            found = normaliser(originals, seen, [level.share for level in badly], self.recipe.within)
            state = with_normaliser(state, *found)
            with whole_or_not_at_all(weights) as path:
                save_file(state, path, metadata={**loaded.metadata, "within": str(self.recipe.within)})
        self.normalised = self.measure(state)

    def _vectors_at(
        self, net: nn.Module, faces: Sequence[Face], level: Level, rng: np.random.Generator
    ) -> npt.NDArray[np.float64]:
        """Return the vectors, of any length, of faces at a level."""
        parts = []
        for start in range(0, len(faces), BATCH):
            some = faces[start : start + BATCH]
            seen, _ = self.train_set.pairs(some, [level] * len(some), [False] * len(some), rng)
            with torch.no_grad():
                parts.append(net(network_input(self.machine.put(seen))).cpu().double().numpy())
        return np.concatenate(parts)

    def about(self, best: Mapping[str, float]) -> dict[str, Any]:
        """Return the measures of the best step, and the pictures that were left out."""
        told: dict[str, Any] = {"best_validation": {name: round(value, 4) for name, value in best.items()}}
        if self.normalised:
            told["normalised_validation"] = {name: round(value, 4) for name, value in self.normalised.items()}
        told["training_pictures_without_a_face"] = self.train_set.faces.left_out
        return told
