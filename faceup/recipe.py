"""Recipes: plain YAML, every key checked, no inheritance. The recipe of `faceup run` and the reader that all share."""

from __future__ import annotations

import json
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
# Of what a folder is called after.
NAME = r"[\w][\w .-]*"
NAME_TOLD = "letters, digits, spaces, dots, dashes or underscores"


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
        self._check_types()
        if not self.sr or len(set(self.sr)) != len(self.sr):
            raise ConfigError(f"A run needs at least one SR backend and each once, got {', '.join(self.sr) or 'none'}.")
        if not re.fullmatch(NAME, self.name):
            raise ConfigError(f"name must be {NAME_TOLD}, got {self.name!r}.")
        if self.similarity not in SIMILARITIES:
            raise unknown_name("similarity", self.similarity, SIMILARITIES)
        if self.published not in ("", *PUBLISHED):
            raise unknown_name("published numbers", self.published, PUBLISHED)
        for key in ("scale", "threads", "seed", "candidates"):
            value, least = getattr(self, key), 1 if key == "scale" else 0
            if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63:
                raise ConfigError(f"{key} must be a whole number of at least {least}, got {value!r}.")

    def _check_types(self) -> None:
        texts = {key: getattr(self, key) for key in ("name", "detector", "recognizer", "device")}
        texts |= {key: value for key in ("gallery", "probes", "pairs") if (value := getattr(self, key)) is not None}
        for key, value in [*texts.items(), *(("sr", label) for label in self.sr)]:
            if not isinstance(value, str) or not value:
                raise ConfigError(f"{key} must be text, got {value!r}.")
        options = {key: getattr(self, key) for key in ("sr_options", "detector_options", "recognizer_options", "data")}
        if isinstance(self.sr_options, dict):
            options |= {f"sr_options of {name}": value for name, value in self.sr_options.items()}
        for key, value in options.items():
            if not isinstance(value, dict):
                raise ConfigError(f"{key} must be a mapping of settings, got {value!r}.")
            try:
                json.dumps(value)
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{key} must hold texts, numbers and lists only ({error}).") from error

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


class _TextLoader(yaml.SafeLoader):
    """Leaves every plain scalar the text that it is, but for null: `010` is no 8 and `12:30` no 750."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if tag.endswith((":null", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def read_yaml(path: Path, *, as_text: bool = False) -> Any:
    """Return the plain values of a YAML file.

    Args:
        path: the file.
        as_text: leave numbers, dates and truth values the text that was written, as names of people must be.

    Raises:
        ConfigError: it cannot be read or is no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{shown(path)}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown(path)}: not a YAML file ({error}).") from error
    return parse_yaml(text, shown(path), as_text=as_text)


def parse_yaml(text: str, name: str, *, as_text: bool = False) -> Any:
    """Return the plain values of YAML text; see `read_yaml`.

    Raises:
        ConfigError: it is no YAML; the message begins with `name`.
    """
    try:
        return yaml.load(text, _TextLoader if as_text else yaml.SafeLoader)  # noqa: S506 (both are safe)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # of a 13th month, of thousands of brackets
        raise ConfigError(f"{name}: not a YAML file ({' '.join(str(error).split())}).") from error


def read_recipe(
    path: Path, kind: type[T], overrides: Mapping[str, Any] | None = None, *, usual: Mapping[str, Any] | None = None
) -> T:
    """Read a YAML file into a recipe dataclass.

    Args:
        path: the file.
        kind: the dataclass; its `__post_init__` checks the values.
        overrides: values that win over the file's, e.g. from the command line.
        usual: values where the file has none.

    Raises:
        ConfigError: no YAML mapping, an unknown or missing key, or a value that the recipe refuses.
    """
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{shown(path)}: a recipe is a YAML mapping of settings, got {type(values).__name__}.")
    try:
        return make_recipe(kind, {**(usual or {}), **values, **(overrides or {})})
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
