"""Finds weight files, checks them against the catalogue, and reads tensors from the very bytes that were checked."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import stat
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from faceup.errors import WeightsError
from faceup.files import sha256_hex, shown
from faceup.types import WeightSpec
from faceup.weights import cache
from faceup.weights.catalog import spec

if TYPE_CHECKING:
    from torch import Tensor

MAX_BYTES = 2 * 2**30
_WRAPPERS = ("state_dict", "net_state_dict", "model_state_dict", "params_ema", "params-ema", "params", "model", "net")
_NESTED = 3  # wrappers in wrappers; a file can be made to hold itself


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """Tensors and where they came from.

    Attributes:
        tensors: key to tensor, on the CPU.
        metadata: the strings that a safetensors file carries.
        sha256: of the file, lower-case hex.
        name: the catalogue's name, or the file's for a file of the user's.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    sha256: str
    name: str


class NotPulledError(WeightsError):
    """A weight file that does not come with any package, and was not pulled yet."""


def locate(weight: WeightSpec) -> Path:
    """Return where a weight file lies, in the cache or in an installed package; nothing is downloaded.

    Raises:
        NotPulledError: it is to be had with `faceup models pull`.
        WeightsError: no package that is installed holds it, or its licence was not accepted.
    """
    if (pulled := cache.pulled(weight)) is not None:
        if cache.accepted(weight):
            return pulled
        raise WeightsError(
            f"The licence of {weight.name}, {weight.licence}, was not accepted here: faceup models pull {weight.name} "
            f"--accept-licence {weight.licence}"
        )
    if weight.commercial:
        for source in weight.sources:
            if (path := in_package(source)) is not None:
                return path
    if not weight.installed_with_faceup:
        raise NotPulledError(
            f"Weights {weight.name!r} ({weight.filename}) were not pulled yet: faceup models pull {weight.name}"
        )
    raise WeightsError(
        f"Weights {weight.name!r} ({weight.filename}) are not installed; looked in: {', '.join(weight.sources)}."
    )


def in_package(source: str) -> Path | None:
    """Return the file that a `package:MODULE/PATH` source names, or None if it is not installed or of another kind."""
    kind, _, place = source.partition(":")
    if kind != "package":
        return None
    module, _, member = place.partition("/")
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a parent of a dotted name is missing
        found = None
    for folder in (found.submodule_search_locations or []) if found else []:
        if os.path.isfile(path := Path(folder) / member):  # noqa: PTH113 - Path.is_file raises where it may not look
            return path
    return None


def checked_bytes(name: str) -> bytes:
    """Return the bytes of a catalogued weight file after checking its size and sha256.

    Raises:
        WeightsError: missing or different from what the catalogue says.
    """
    weight = spec(name)
    path = locate(weight)
    data = _read(path)
    found = sha256_hex(data)
    if len(data) != weight.bytes or found != weight.sha256:
        again = f"faceup models pull {name}" if path == cache.pulled(weight) else "Install the package again."
        raise WeightsError(
            f"{shown(path)}: damaged or changed weights of {name!r}: expected {weight.bytes} bytes with sha256 "
            f"{weight.sha256}, got {len(data)} bytes with {found}. To mend it: {again}"
        )
    return data


def load(name: str) -> LoadedWeights:
    """Read a catalogued weight file.

    Raises:
        WeightsError: missing, damaged, or not readable as tensors.
    """
    data = checked_bytes(name)
    tensors, metadata = _tensors(data, spec(name).filename)
    return LoadedWeights(tensors, metadata, spec(name).sha256, name)


def load_file(path: Path) -> LoadedWeights:
    """Read a weight file of the user's: safetensors, or a torch checkpoint of nothing but tensors and plain values.

    Raises:
        WeightsError: missing, too large, or it would need to run code to be read.
    """
    data = _read(path)
    tensors, metadata = _tensors(data, shown(path))
    return LoadedWeights(tensors, metadata, sha256_hex(data), path.name)


def load_named(name: str) -> LoadedWeights:
    """Read weights by a name of the catalogue or from a file.

    Raises:
        ConfigError: neither a file nor a known name.
        WeightsError: missing or damaged.
    """
    return load_file(Path(name)) if os.path.isfile(name) else load(name)  # noqa: PTH113


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise WeightsError(f"{shown(path)}: not a file but a folder, pipe or device.")
        if status.st_size > MAX_BYTES:
            raise WeightsError(f"{shown(path)}: larger than {MAX_BYTES} bytes.")
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{shown(path)}: cannot be read ({error.strerror or error}).") from error


def _tensors(data: bytes, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load as load_safetensors

    if name.endswith(".safetensors"):
        try:
            return load_safetensors(data), _metadata(data)
        except (SafetensorError, ValueError, KeyError, struct.error) as error:
            raise WeightsError(f"{name}: damaged safetensors file ({error}).") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of pickle protocols that it then reads or refuses.
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch raise nearly anything
        raise WeightsError(
            f"{name}: cannot be read without running code from it, or damaged ({_reason(error)}). "
            "Save it as safetensors or as a plain state_dict."
        ) from error
    return _unwrap(content, name), {}


def _reason(error: Exception) -> str:
    """Return what torch.load says in one line, without its advice to load the file with code and all."""
    if named := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"it names {named[1]}"
    lines = str(error).splitlines()
    return lines[0] if lines and "weights_only" not in lines[0] else type(error).__name__


def _metadata(data: bytes) -> dict[str, str]:
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    return dict(header.get("__metadata__") or {})  # null, too, is read by safetensors


def _unwrap(content: Any, name: str) -> dict[str, Tensor]:
    """Return the state dict inside a training checkpoint."""
    tensors = _state(content)
    if not tensors:
        raise WeightsError(f"{name}: no tensors found in it.")
    for key in tensors:
        if not isinstance(key, str):
            raise WeightsError(f"{name}: a tensor in it is named {key!r}, which is no text; save a plain state_dict.")
    return tensors


def _state(content: Any, depth: int = _NESTED) -> dict[Any, Tensor]:
    """Return the tensors in the first wrapper that holds some; only without one those that lie beside it."""
    import torch

    if not isinstance(content, Mapping):
        return {}
    for key in _WRAPPERS if depth else ():
        if tensors := _state(content.get(key), depth - 1):
            return tensors
    return {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
