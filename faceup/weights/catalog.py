"""The catalogue of weight files, read from catalog.yaml beside this module."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any

import yaml

from faceup.errors import unknown_name
from faceup.types import ArchiveSpec, WeightSpec


@cache
def catalog() -> dict[str, WeightSpec]:
    """Return every known weight file by name, in the order of the file."""
    text = resources.files("faceup.weights").joinpath("catalog.yaml").read_text(encoding="utf-8")
    return {name: _spec(name, entry) for name, entry in yaml.safe_load(text).items()}


def _spec(name: str, entry: dict[str, Any]) -> WeightSpec:
    archive = ArchiveSpec(**entry["archive"]) if "archive" in entry else None
    return WeightSpec(name=name, **{**entry, "sources": tuple(entry["sources"]), "archive": archive})


def spec(name: str) -> WeightSpec:
    """Return what is known of one weight file.

    Raises:
        ConfigError: no such name.
    """
    known = catalog()
    if name not in known:
        raise unknown_name("weights", name, known)
    return known[name]
