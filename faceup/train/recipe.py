"""The recipe of a training: read by `faceup.recipe.read_recipe`."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from faceup.errors import ConfigError, unknown_name
from faceup.files import shown
from faceup.recipe import make_recipe, read_recipe, read_yaml
from faceup.train.degrade import make_ranges

DEGRADATIONS = ("bicubic", "surveillance")


@dataclass(frozen=True, slots=True)
class TrainRecipe:
    """One training.

    Attributes:
        name: names the weights and the folder that the training writes.
        network: a module of `faceup.networks`.
        scale: 2, 4 or 8.
        train: first and last file number of the training pictures, both included.
        validation: the same for the pictures that choose the best step.
        network_options: what the network's configuration takes, without the scale.
        data: folder of numbered pictures inside the data root.
        degradation: how the LR picture is made; `bicubic` is the paper's, antialiased, on the whole picture;
            `surveillance` is `faceup.train.degrade` on crops of the face.
        degradation_ranges: for `surveillance`, what differs from the defaults of `faceup.train.degrade.Ranges`.
        start: weights to begin with in the place of random ones: a name of the catalogue or a file.
        identity: weight of the identity term, 1 - cosine of the default recogniser's embeddings of the super-resolved
            and the original face, beside the L1 loss in grey levels; needs `surveillance`. 0 leaves it out.
        identity_from: step at which the identity term sets in; before it the loss is L1 alone.
        alignment_jitter: noise on the landmarks of the identity term, as a share of the distance of the eyes.
        patch: side of the LR crop in pixels.
        batch: crops a step.
        steps: number of optimiser steps.
        lr: the highest learning rate.
        schedule: `cosine` to zero after `warmup` steps, or `paper` (halved every `halve_every` steps).
        warmup: steps of linear warm-up.
        halve_every: for `paper`, in steps.
        ema: decay of the running mean of the weights that is validated and shipped; 0 switches it off.
        validate_every: steps between validations and checkpoints.
        components: whether the network also gets the facial components of every crop (LCGE); faces are then looked for
            in all pictures first.
        exemplars: number of training faces that are added to the weights as a bank of real detail (LCGE).
        freeze_norms: keep the statistics of all batch norms at mean 0 and variance 1: they only scale and shift then.
            A short training gets further that way: no noise from small batches, and training and use see one network.
        seed: of everything random.
        compile: whether torch.compile builds the training step (about 1.4 times faster after some minutes).
    """

    name: str
    network: str
    scale: int
    train: tuple[int, int]
    validation: tuple[int, int]
    network_options: dict[str, Any] = field(default_factory=dict)
    data: str = "faces256"
    degradation: str = "bicubic"
    degradation_ranges: dict[str, Any] = field(default_factory=dict)
    start: str = ""
    identity: float = 0.0
    identity_from: int = 0
    alignment_jitter: float = 0.0
    patch: int = 32
    batch: int = 16
    steps: int = 3000
    lr: float = 1e-4
    schedule: str = "cosine"
    warmup: int = 0
    halve_every: int = 50_000
    ema: float = 0.999
    validate_every: int = 250
    components: bool = False
    exemplars: int = 0
    freeze_norms: bool = False
    seed: int = 0
    compile: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "train", tuple(self.train))
        object.__setattr__(self, "validation", tuple(self.validation))
        if self.degradation not in DEGRADATIONS:
            raise unknown_name(f"degradation of recipe {self.name}", self.degradation, DEGRADATIONS)
        clean = self.degradation == "bicubic"
        if clean and (self.degradation_ranges or self.identity):
            raise ConfigError(f"Recipe {self.name}: degradation_ranges and identity need degradation: surveillance.")
        if not clean and self.components:
            raise ConfigError(f"Recipe {self.name}: components are there for degradation: bicubic only.")
        make_ranges(self.degradation_ranges)
        if min(self.identity, self.identity_from, self.alignment_jitter) < 0:
            raise ConfigError(f"Recipe {self.name}: identity, identity_from and alignment_jitter start at 0.")
        if self.schedule not in ("cosine", "paper"):
            raise ConfigError(f"Recipe {self.name}: schedule must be 'cosine' or 'paper', got {self.schedule!r}.")
        if self.batch < 2 or min(self.patch, self.steps, self.validate_every) < 1 or not 0 <= self.ema < 1:
            raise ConfigError(
                f"Recipe {self.name}: needs batch >= 2 (batch norms), patch, steps, validate_every >= 1, 0 <= ema < 1."
            )
        if self.exemplars < 0 or (self.exemplars and not self.components):
            raise ConfigError(f"Recipe {self.name}: exemplars is a number of faces and needs components: true.")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return asdict(self)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.schedule == "paper":
            return float(self.lr * 0.5 ** (step // self.halve_every))
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return 0.5 * self.lr * (1 + math.cos(math.pi * min(1.0, done)))


def read_trainings(path: Path) -> list[TrainRecipe]:
    """Read the trainings of a recipe: one, or with `variants` one for each.

    `variants` maps the end of a name to options of the network that differ, so that an ablation is one file:

        name: table1
        variants:
          no-structure: {structure: none}

    is the training `table1-no-structure` and no other.

    Raises:
        ConfigError: no YAML mapping, an unknown or missing key, or a value that the recipe refuses.
    """
    values = read_yaml(path)
    if not isinstance(values, dict) or "variants" not in values:
        return [read_recipe(path, TrainRecipe)]
    variants = values.pop("variants")
    if not isinstance(variants, dict) or not variants or not all(isinstance(v, dict) for v in variants.values()):
        raise ConfigError(f"{shown(path)}: variants maps names to options of the network, got {variants!r}.")
    try:
        shared = make_recipe(TrainRecipe, values)
    except ConfigError as error:
        raise ConfigError(f"{shown(path)}: {error}") from error
    return [
        replace(shared, name=f"{shared.name}-{end}", network_options={**shared.network_options, **options})
        for end, options in variants.items()
    ]
