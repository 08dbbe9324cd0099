"""Finds the plug-ins of a stage: the modules of its folder and the entry points of other packages.

A plug-in is a module with `INFO`, a `BackendInfo`, and `build(options)`, which returns the object that the stage's
protocol describes. Its name is the module's, with dashes for underscores. Entry points of the groups `faceup.sr`,
`faceup.detect` and `faceup.embed` name such modules.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from faceup.errors import ConfigError, ContractError, unknown_name
from faceup.protocols import Detector, Embedder, SrBackend
from faceup.types import BackendInfo

Stage = Literal["sr", "detect", "embed"]
STAGES: tuple[Stage, ...] = ("sr", "detect", "embed")
# What `all` means besides the networks: SR backends that have nothing to load, in the order of the tables.
WITHOUT_WEIGHTS = ("none", "bicubic")
ALL = "all"
_PROTOCOLS: dict[str, type] = {"sr": SrBackend, "detect": Detector, "embed": Embedder}


@dataclass(frozen=True, slots=True)
class Options:
    """What a backend is built with.

    Attributes:
        scale: asked for by the recipe; a backend that cannot do it raises ConfigError.
        device: `cpu` or `cuda`, already decided.
        weights: a file of the user's in the place of the catalogue's weights.
        extra: settings of this backend from the recipe; unknown ones raise ConfigError.
    """

    scale: int = 4
    device: str = "cpu"
    weights: Path | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def refuse_extra(self, name: str, *known: str) -> None:
        """Raise ConfigError for a setting that the backend does not know."""
        for key in self.extra:
            if key not in known:
                raise unknown_name(f"setting of {name}", key, known)

    def refuse_weights(self, name: str) -> None:
        """Raise ConfigError when a file was given to a backend that takes none."""
        if self.weights is not None:
            raise ConfigError(f"Backend {name!r} takes no file: write {name!r} without ':{self.weights}'.")


@cache
def _found(stage: Stage) -> dict[str, str]:
    """Return the name of every plug-in of a stage and the module that holds it; nothing is imported but the folder."""
    package = importlib.import_module(f"faceup.{stage}")
    modules = [m.name for m in pkgutil.iter_modules(package.__path__) if m.name[0] != "_"]
    found = {name.replace("_", "-"): f"{package.__name__}.{name}" for name in modules}
    for point in metadata.entry_points(group=f"faceup.{stage}"):
        if point.name in found:
            raise ContractError(
                f"Two plug-ins of stage {stage} are named {point.name!r}: {found[point.name]} and {point.value}."
            )
        found[point.name] = point.value
    return found


def names(stage: Stage) -> list[str]:
    """Return the names of a stage's plug-ins, sorted."""
    return sorted(_found(stage))


def expanded(labels: Iterable[str], scale: int) -> list[str]:
    """Return SR labels with `all` replaced by every SR backend that runs at this scale without a file of the user's.

    Those are `none`, `bicubic` and then, by name, the backends whose INFO names weights `NAME-xSCALE`. A label that
    comes twice is kept where it came first.

    Raises:
        ConfigError or ContractError: a registered plug-in cannot be loaded, so what it offers is not known.
    """
    found: dict[str, None] = {}
    for label in labels:
        found.update(dict.fromkeys(_runs_alone(scale) if label == ALL else [label]))
    return list(found)


def _runs_alone(scale: int) -> list[str]:
    return [*WITHOUT_WEIGHTS, *(name for name in names("sr") if f"{name}-x{scale}" in info("sr", name).weights)]


def _module(stage: Stage, name: str) -> ModuleType:
    found = _found(stage)
    if name not in found:
        raise unknown_name(f"{stage} backend", name, found)
    try:
        module = importlib.import_module(found[name])
    except ImportError as error:
        raise ConfigError(f"Backend {name!r} cannot be loaded: {error}.") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise ContractError(f"Plug-in {found[name]} fails when it is imported: {reason}.") from error
    if not isinstance(getattr(module, "INFO", None), BackendInfo) or not callable(getattr(module, "build", None)):
        raise ContractError(f"Plug-in {found[name]} needs INFO, a BackendInfo, and build(options).")
    return module


def info(stage: Stage, name: str) -> BackendInfo:
    """Return what a plug-in says of itself."""
    described: BackendInfo = _module(stage, name).INFO
    return described


def build(stage: Stage, name: str, options: Options) -> Any:
    """Build a plug-in and check that it offers what its stage needs.

    Raises:
        ConfigError: unknown name or setting.
        WeightsError: its weights are missing or damaged.
        ContractError: it does not follow the protocol.
    """
    backend = _module(stage, name).build(options)
    if not isinstance(backend, _PROTOCOLS[stage]):
        raise ContractError(f"Plug-in {name!r} of stage {stage} does not follow {_PROTOCOLS[stage].__name__}.")
    return backend


def check_options(sr_options: Mapping[str, Any]) -> None:
    """Raise ConfigError unless the settings of SR backends stand under names of backends, without a file."""
    for name in sr_options:
        if name not in names("sr"):
            raise unknown_name("SR backend in sr_options", name, names("sr"))


def split_name(text: str) -> tuple[str, Path | None]:
    """Split `NAME` or `NAME:FILE` as recipes and the command line give a backend."""
    name, colon, file = text.partition(":")
    if colon and not file:
        raise ConfigError(f"Backend {text!r} has a colon but no file behind it.")
    return name, Path(file) if file else None
