"""The recipes of trainings: super-resolution networks, and recognisers by distillation (`kind: distil`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faceup.errors import ConfigError, unknown_name
from faceup.files import shown
from faceup.recipe import make_recipe, read_yaml
from faceup.train.course import LikenessCourse
from faceup.train.degrade import make_ranges

DEGRADATIONS = ("bicubic", "surveillance")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe(LikenessCourse):
    """The training of a super-resolution network; see `Course` and `LikenessCourse` for the rest.

    Attributes:
        network: a module of `faceup.networks`.
        scale: 2, 4 or 8.
        network_options: what the network's configuration takes, without the scale.
        degradation: how the LR picture is made; `bicubic` is the paper's, antialiased, on the whole picture;
            `surveillance` is `faceup.train.degrade` on crops of the face.
        degradation_ranges: for `surveillance`, what differs from the defaults of `faceup.train.degrade.Ranges`.
        start: weights to begin with in the place of random ones: a name of the catalogue or a file.
        identity: weight of the identity term, how unlike a recogniser finds the super-resolved and the original face by
            the terms of `LikenessCourse`, beside the L1 loss in grey levels; needs `surveillance`. 0 leaves it out.
        recognizer: weights of that recogniser, a MobileFaceNet: a name of the catalogue or a file; or a list of them,
            of whose terms the mean counts.
        identity_from: step at which the identity term sets in; before it the loss is L1 alone.
        alignment_jitter: noise on the landmarks of the identity term, as a share of the distance of the eyes.
        patch: side of the LR crop in pixels; with `surveillance` the crops are as large as the faces need, and their
            number follows, so that a step has about `batch` times `patch` squared LR pixels.
        exemplars: number of training faces that are added to the weights as a bank of real detail (LCGE).
    """

    network: str
    scale: int
    network_options: dict[str, Any] = field(default_factory=dict)
    degradation: str = "bicubic"
    degradation_ranges: dict[str, Any] = field(default_factory=dict)
    start: str = ""
    identity: float = 0.0
    recognizer: str | tuple[str, ...] = "mobilefacenet"
    identity_from: int = 0
    alignment_jitter: float = 0.0
    patch: int = 32
    exemplars: int = 0

    def __post_init__(self) -> None:
        LikenessCourse.__post_init__(self)
        if isinstance(self.recognizer, list):
            object.__setattr__(self, "recognizer", tuple(self.recognizer))
        names = self.recognizers
        if not names or not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
            raise ConfigError(
                f"Recipe {self.name}: recognizer is a name, a file or a list, each once, got {self.recognizer!r}."
            )
        self._check_whole("patch", least=1)
        self._check_whole("identity_from")
        self._check_numbers("identity", "alignment_jitter")
        if self.exemplars < 0 or (self.exemplars and self.network != "lcge"):
            raise ConfigError(f"Recipe {self.name}: exemplars is a number of faces, and only lcge has a bank of them.")
        if self.degradation not in DEGRADATIONS:
            raise unknown_name(f"degradation of recipe {self.name}", self.degradation, DEGRADATIONS)
        clean = self.degradation == "bicubic"
        if clean and (self.degradation_ranges or self.identity or self.mix):
            raise ConfigError(
                f"Recipe {self.name}: degradation_ranges, identity and mix need degradation: surveillance."
            )
        if not clean and self.network == "lcge":
            raise ConfigError(f"Recipe {self.name}: lcge learns from whole pictures, with degradation: bicubic.")
        make_ranges(self.degradation_ranges)
        if self.compares_others and not self.identity:
            raise ConfigError(f"Recipe {self.name}: agreement, contrast and excess are parts of identity, which is 0.")

    @property
    def recognizers(self) -> tuple[str, ...]:
        """The recognisers of the identity term."""
        return self.recognizer if isinstance(self.recognizer, tuple) else (self.recognizer,)


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilRecipe(LikenessCourse):
    """The training of a recogniser that sees bad pictures as its teacher sees the good ones; no identity labels.

    Attributes:
        teacher: weights of a MobileFaceNet, a name of the catalogue or a file.
        start: weights that the student begins with, a name of the catalogue or a file; without it, the teacher's.
        levels: what the student sees, by name: `share` of the faces, `jitter` of the landmarks as a share of the
            distance of the eyes, and `ranges` of the degradation as in `faceup.train.degrade.Ranges`; without `ranges`
            it sees the original.
        sr: weights of SISN x4, a name of the catalogue or a file, that enlarge in the place of bicubic.
        sr_share: share of the degraded faces that they enlarge.
        teacher_share: how much of the teacher is in the shipped weights, which are the mean of both, weighted.
        half: ship the weights as fp16.
        score: what the best step has most of: `mean` (cosine to the teacher) or `dprime`, of the last level.
        within: ridge of the normalisation that the shipped weights get at the end (`faceup.train.within`); 0: none.
    """

    teacher: str = "mobilefacenet"
    start: str = ""
    levels: dict[str, dict[str, Any]] = field(default_factory=dict)
    sr: str = ""
    sr_share: float = 0.0
    teacher_share: float = 0.0
    half: bool = False
    score: str = "mean"
    within: float = 0.0

    def __post_init__(self) -> None:
        LikenessCourse.__post_init__(self)
        if self.score not in ("mean", "dprime"):
            raise ConfigError(f"Recipe {self.name}: score is mean or dprime, got {self.score!r}.")
        if not self.levels:
            raise ConfigError(f"Recipe {self.name}: levels must say what the student sees.")
        for name, level in self.levels.items():
            if not isinstance(level, dict) or not set(level) <= {"share", "jitter", "ranges"} or "share" not in level:
                raise ConfigError(
                    f"Recipe {self.name}: level {name} has share and maybe jitter and ranges, got {level}."
                )
            make_ranges(level.get("ranges", {}))
        if abs(sum(level["share"] for level in self.levels.values()) - 1) > 1e-6:
            raise ConfigError(f"Recipe {self.name}: the shares of the levels must sum to 1.")
        self._check_numbers("sr_share", "teacher_share", most=1)
        self._check_numbers("within")
        if self.within and not any("ranges" in level for level in self.levels.values()):
            raise ConfigError(f"Recipe {self.name}: within needs a level with ranges, faces that are seen badly.")
        if self.sr_share and not self.sr:
            raise ConfigError(f"Recipe {self.name}: sr_share needs sr, the weights that enlarge.")


AnyRecipe = TrainRecipe | DistilRecipe
KINDS: dict[str, type[TrainRecipe] | type[DistilRecipe]] = {"sr": TrainRecipe, "distil": DistilRecipe}


def read_trainings(path: Path) -> list[TrainRecipe] | list[DistilRecipe]:
    """Read the trainings of a recipe: one, or with `variants` one for each.

    `kind` says what is trained, `sr` (the default) or `distil`. `variants` maps the end of a name to options of the
    network that differ, so that an ablation is one file:

        name: table1
        variants:
          no-structure: {structure: none}

    is the training `table1-no-structure` and no other.

    Raises:
        ConfigError: no YAML mapping, an unknown or missing key, or a value that the recipe refuses.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{shown(path)}: a recipe is a YAML mapping of settings, got {type(values).__name__}.")
    kind, variants = str(values.pop("kind", "sr")), values.pop("variants", {"": {}})
    if not isinstance(variants, dict) or not variants or not all(isinstance(v, dict) for v in variants.values()):
        raise ConfigError(f"{shown(path)}: variants maps names to options of the network, got {variants!r}.")
    try:
        if kind not in KINDS:
            raise unknown_name("kind of training", kind, KINDS)
        shared = make_recipe(KINDS[kind], values)
    except ConfigError as error:
        raise ConfigError(f"{shown(path)}: {error}") from error
    if isinstance(shared, DistilRecipe):
        if "" not in variants:
            raise ConfigError(f"{shown(path)}: variants are options of a super-resolution network.")
        return [shared]
    return [
        replace(
            shared,
            name=f"{shared.name}-{end}" if end else shared.name,
            network_options={**shared.network_options, **options},
        )
        for end, options in variants.items()
    ]
