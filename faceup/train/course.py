"""What every training has in common: its pictures, steps, learning rate, validation."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass
from typing import Any

from faceup.errors import ConfigError
from faceup.recipe import NAME, NAME_TOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The course of a training.

    Attributes:
        name: names the weights and the folder that the training writes.
        train: first and last file number of the training pictures, both included.
        validation: the same for the pictures that choose the best step.
        data: folder of numbered pictures inside the data root.
        batch: crops a step.
        steps: number of optimiser steps.
        lr: the highest learning rate.
        schedule: `cosine` to zero after `warmup` steps, or `paper` (halved every `halve_every` steps).
        warmup: steps of linear warm-up.
        halve_every: for `paper`, in steps.
        ema: decay of the running mean of the weights that is validated and shipped; 0 switches it off.
        validate_every: steps between validations and checkpoints.
        clip: largest norm of the gradients of a step, longer ones are shortened to it; 0 leaves all as they are.
        freeze_norms: keep the statistics of all batch norms as they are, mean 0 and variance 1 in a new network: they
            only scale and shift then. A short training gets further that way: no noise from small batches, and training
            and use see one network.
        seed: of everything random.
        bf16: whether the trained network runs in bfloat16 where torch.autocast sees fit, which a GPU does faster; the
            weights stay in float32, and so does everything that is validated or shipped.
        compile: whether torch.compile builds the training step (about 1.4 times faster after some minutes).
    """

    name: str
    train: tuple[int, int]
    validation: tuple[int, int]
    data: str = "faces256"
    batch: int = 16
    steps: int = 3000
    lr: float = 1e-4
    schedule: str = "cosine"
    warmup: int = 0
    halve_every: int = 50_000
    ema: float = 0.999
    clip: float = 0.0
    validate_every: int = 250
    freeze_norms: bool = False
    seed: int = 0
    bf16: bool = False
    compile: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(NAME, self.name):
            raise ConfigError(f"Recipe: name must be {NAME_TOLD}, got {self.name!r}.")
        for key in ("train", "validation"):
            numbers = getattr(self, key)
            whole = isinstance(numbers, (list, tuple)) and all(type(number) is int for number in numbers)
            if not whole or len(numbers) != 2 or not 0 <= numbers[0] <= numbers[1]:
                raise ConfigError(f"Recipe {self.name}: {key} is a first and a last number, got {numbers!r}.")
            object.__setattr__(self, key, tuple(numbers))
        self._check_whole("batch", "steps", "warmup", "validate_every", "seed")
        self._check_whole("halve_every", least=1)
        self._check_numbers("lr", "ema", "clip")
        for key in ("freeze_norms", "bf16", "compile"):
            if type(value := getattr(self, key)) is not bool:
                raise ConfigError(f"Recipe {self.name}: {key} is true or false, got {value!r}.")
        if self.schedule not in ("cosine", "paper"):
            raise ConfigError(f"Recipe {self.name}: schedule must be 'cosine' or 'paper', got {self.schedule!r}.")
        if self.batch < 2 or min(self.steps, self.validate_every) < 1 or not 0 <= self.ema < 1:
            raise ConfigError(
                f"Recipe {self.name}: needs batch >= 2 (batch norms), steps, validate_every >= 1, 0 <= ema < 1."
            )

    def _check_whole(self, *keys: str, least: int = 0) -> None:
        for key in keys:
            if type(value := getattr(self, key)) is not int or value < least:
                raise ConfigError(f"Recipe {self.name}: {key} must be a whole number from {least}, got {value!r}.")

    def _check_numbers(self, *keys: str, least: float = 0, most: float = math.inf) -> None:
        for key in keys:
            value = getattr(self, key)
            if type(value) not in (int, float) or not least <= value <= most or math.isinf(value):
                upper = "" if math.isinf(most) else f" to {most}"
                # YAML takes 1e-4 for a text, and 1.0e-4 for a number.
                raise ConfigError(
                    f"Recipe {self.name}: {key} must be a number from {least}{upper}, such as 1.0e-4; got {value!r}."
                )

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LikenessCourse(Course):
    """The course of a training whose loss compares vectors of faces: 1 - cosine to the original, and these terms.

    Attributes:
        mix: probability that a face is blended with another into one that nobody has.
        agreement: weight of the squared difference between the similarities to all faces and those of the original.
        contrast: weight of the divergence between both as distributions over all faces, which parts impostors.
        temperature: of these distributions.
        excess: weight of the squared part by which a similarity to another face lies above both `excess_from` and
            that between the originals; it lowers the impostors of the highest scores.
        excess_from: similarity from which that part counts.
        bank_blends: how many blended faces are compared with, beyond the training faces.
    """

    mix: float = 0.0
    agreement: float = 0.0
    contrast: float = 0.0
    temperature: float = 0.1
    excess: float = 0.0
    excess_from: float = 0.0
    bank_blends: int = 0

    def __post_init__(self) -> None:
        Course.__post_init__(self)
        self._check_numbers("mix", most=1)
        self._check_numbers("agreement", "contrast", "temperature", "excess")
        self._check_numbers("excess_from", least=-1, most=1)
        self._check_whole("bank_blends")
        if not self.temperature:
            raise ConfigError(f"Recipe {self.name}: temperature must lie above 0.")

    @property
    def compares_others(self) -> bool:
        """Whether a term needs the vectors of other faces."""
        return max(self.agreement, self.contrast, self.excess) > 0
