"""Which recogniser made an embedding: vectors of two models must never meet."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from faceup import registry
from faceup.errors import DataError
from faceup.files import sha256_hex
from faceup.record import backend_entry
from faceup.registry import Options
from faceup.weights import store


@dataclass(frozen=True, slots=True)
class Model:
    """The identity of a recogniser.

    Attributes:
        name: as on the command line, without a file.
        version: of the plug-in.
        weights: sha256 of every weight file, lower-case hex.
        settings: of the plug-in, as JSON with sorted keys.
        dimension: length of an embedding.
    """

    name: str
    version: str
    weights: tuple[str, ...]
    settings: str
    dimension: int

    @property
    def sha256(self) -> str:
        """The hash of all fields; embeddings can be compared only where it is the same."""
        return sha256_hex(json.dumps(asdict(self), sort_keys=True).encode())

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return {**asdict(self), "weights": list(self.weights)}


def model_of(label: str, settings: Mapping[str, Any], dimension: int) -> Model:
    """Return the identity of a recogniser; its weight files are hashed now.

    Args:
        label: `NAME` or `NAME:FILE`.
        settings: of the plug-in.
        dimension: of the built recogniser.

    Raises:
        ConfigError: there is no such recogniser.
        WeightsError: a catalogued weight file is missing or damaged.
    """
    name, file = registry.split_name(label)
    info = registry.info("embed", name)
    if file is None:
        for weight in info.weights:
            store.checked_bytes(weight)
    entry = backend_entry("embed", label, info, file)
    weights = tuple(weight["sha256"] for weight in entry["weights"])
    return Model(name, info.version, weights, json.dumps(dict(settings), sort_keys=True), dimension)


def model_from(values: Mapping[str, Any]) -> Model:
    """Read what `Model.as_dict` gave.

    Raises:
        DataError: it is no such thing.
    """
    try:
        strings = (str(values["name"]), str(values["version"]))
        weights = tuple(str(weight) for weight in values["weights"])
        return Model(*strings, weights, str(values["settings"]), int(values["dimension"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"The gallery does not say which model made its embeddings ({error!r}).") from error


def build_embedder(label: str, settings: Mapping[str, Any], device: str) -> tuple[Any, Model]:
    """Build a recogniser and return it with its identity.

    Args:
        label: `NAME` or `NAME:FILE`.
        settings: of the plug-in.
        device: `cpu` or `cuda`.
    """
    name, file = registry.split_name(label)
    embedder = registry.build("embed", name, Options(device=device, weights=file, extra=dict(settings)))
    return embedder, model_of(label, settings, embedder.dimension)
