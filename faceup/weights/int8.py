"""The ranges of features that shipped networks need to be computed in 8 bits; `tools/calibrate_int8.py` writes them."""

from __future__ import annotations

import json
from importlib.resources import files

from faceup.errors import WeightsError
from faceup.weights.catalog import spec

FILE = "int8_ranges.json"


def shipped_ranges(name: str) -> list[tuple[float, float]] | None:
    """Return the smallest and largest value of each tensor of a catalogued network, None if none are shipped for it.

    Raises:
        WeightsError: the ranges were found with other weights than those of the catalogue.
    """
    known = json.loads(files("faceup.weights").joinpath(FILE).read_text(encoding="utf-8"))
    if name not in known:
        return None
    if known[name]["sha256"] != spec(name).sha256:
        raise WeightsError(f"The 8-bit ranges of {name} were found with other weights; use engine 'torch'.")
    return [(float(low), float(high)) for low, high in known[name]["ranges"]]
