"""Recipes: plain YAML, every key checked, no inheritance. The recipe of `faceup run` and the reader that all share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from faceup import defaults
from faceup.errors import ConfigError, unknown_name
from faceup.files import shown

T = TypeVar("T")
SIMILARITIES = ("clipped", "cosine", "half")
PUBLISHED = ("table5", "scface", "tinyface")


@dataclass(frozen=True, slots=True)
class RunRecipe:
    """What `faceup run` does.

    Attributes:
        name: begins the name of the run folder.
        gallery: folder, CSV or YAML of the high-definition pictures; may be given on the command line instead.
        probes: the same for the probes.
        sr: SR backends, `NAME` or `NAME:FILE` with a weight file, one row of the table each; `all` stands for every one
            that needs no file at this scale.
        sr_options: settings by backend name.
        detector: detection backend.
        detector_options: its settings, e.g. `min_face_size` in pixels.
        recognizer: recognition backend, `NAME` or `NAME:FILE`.
        recognizer_options: its settings.
        similarity: `clipped` (cosine, negative as 0: what Table 5 printed), `cosine`, or `half` ((cosine + 1) / 2).
        scale: how many times the SR backends enlarge.
        device: `auto`, `cpu` or `cuda`.
        threads: CPU threads for torch; 0 leaves torch's own choice.
        seed: of torch's generator; no built-in backend draws random numbers.
        save_images: keep every super-resolved picture, not only those that the report shows.
        split_gain: embed every picture a second time with shared landmarks, so that `faceup evaluate` can tell 'more
            faces found' from 'better embedding'; needs the backends `none` and `bicubic`.
        pairs: CSV with the columns `probe`, `gallery` and, if any, `fold`: only these comparisons are written.
        data: what to take from `--data-root`: `kind` and `protocol`, then the protocol's own settings
            (`faceup.datasets`).
        candidates: also tabulate this many candidates drawn with the seed; 0 for none.
        published: whose published numbers stand beside ours in the evaluation: `table5` (of the SISN paper, and
            SCface), `scface`, `tinyface`, or empty.
    """

    name: str = "run"
    gallery: str | None = None
    probes: str | None = None
    sr: tuple[str, ...] = defaults.SR
    sr_options: dict[str, dict[str, Any]] = field(default_factory=dict)
    detector: str = "mtcnn"
    detector_options: dict[str, Any] = field(default_factory=dict)
    recognizer: str = defaults.RECOGNIZER
    recognizer_options: dict[str, Any] = field(default_factory=dict)
    similarity: str = "clipped"
    scale: int = 4
    device: str = "auto"
    threads: int = 0
    seed: int = 0
    save_images: bool = False
    split_gain: bool = False
    pairs: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    candidates: int = 0
    published: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sr", (self.sr,) if isinstance(self.sr, str) else tuple(self.sr))
        if not self.sr or len(set(self.sr)) != len(self.sr):
            raise ConfigError(f"A run needs at least one SR backend and each once, got {', '.join(self.sr) or 'none'}.")
        if not re.fullmatch(r"[\w][\w .-]*", self.name):
            raise ConfigError(f"name must be letters, digits, spaces, dots, dashes or underscores, got {self.name!r}.")
        if self.similarity not in SIMILARITIES:
            raise unknown_name("similarity", self.similarity, SIMILARITIES)
        if self.published not in ("", *PUBLISHED):
            raise unknown_name("published numbers", self.published, PUBLISHED)
        for key in ("scale", "threads", "seed", "candidates"):
            value, least = getattr(self, key), 1 if key == "scale" else 0
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ConfigError(f"{key} must be a whole number of at least {least}, got {value!r}.")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return {**asdict(self), "sr": list(self.sr)}

    def defaults_used(self) -> dict[str, str]:
        """Return, for SR and recogniser where they are the default, what that is and why."""
        usual = {f.name: f.default for f in fields(self)}
        return {
            key: f"{_joined(getattr(self, key))} (default: {reason})"
            for key, reason in defaults.REASONS.items()
            if getattr(self, key) == usual[key]
        }


def _joined(value: str | tuple[str, ...]) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def read_yaml(path: Path) -> Any:
    """Return the plain values of a YAML file.

    Raises:
        ConfigError: it cannot be read or is no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{shown(path)}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown(path)}: not a YAML file ({error}).") from error
    return parse_yaml(text, shown(path))


def parse_yaml(text: str, name: str) -> Any:
    """Return the plain values of YAML text.

    Raises:
        ConfigError: it is no YAML; the message begins with `name`.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: not a YAML file ({' '.join(str(error).split())}).") from error


def read_recipe(path: Path, kind: type[T], overrides: Mapping[str, Any] | None = None) -> T:
    """Read a YAML file into a recipe dataclass.

    Args:
        path: the file.
        kind: the dataclass; its `__post_init__` checks the values.
        overrides: values that win over the file's, e.g. from the command line.

    Raises:
        ConfigError: no YAML mapping, an unknown or missing key, or a value that the recipe refuses.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{shown(path)}: a recipe is a YAML mapping of settings, got {type(values).__name__}.")
    try:
        return make_recipe(kind, {**values, **(overrides or {})})
    except ConfigError as error:
        raise ConfigError(f"{shown(path)}: {error}") from error


def make_recipe(kind: type[T], values: Mapping[str, Any]) -> T:
    """Build a recipe dataclass from plain values, naming what is unknown or missing."""
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise unknown_name("setting", str(key), known)
    required = {n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING}
    if missing := sorted(required - set(values)):
        raise ConfigError(f"Missing settings: {', '.join(missing)}.")
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"A setting has a value of the wrong kind ({error}).") from error
