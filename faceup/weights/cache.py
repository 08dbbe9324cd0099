"""The user's folder of pulled weight files, and which licences were accepted there.

    CACHE/weights/SHA256/FILENAME       a pulled file; the folder is named by the hash that the catalogue gives
    CACHE/weights/SHA256/accepted.json  who accepts what, for licences that forbid commercial use

CACHE is the environment variable FACEUP_CACHE, else the platform's own place for such files.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timezone
from pathlib import Path

from faceup.errors import WeightsError
from faceup.files import whole_or_not_at_all
from faceup.types import WeightSpec


def folder() -> Path:
    """Return the cache folder; it need not exist.

    Raises:
        WeightsError: the platform's place for it lies in the user's home, and there is none.
    """
    if given := os.environ.get("FACEUP_CACHE"):
        return Path(given)
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "faceup" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "faceup"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "faceup"
    except RuntimeError as error:
        raise WeightsError("There is no home folder for the cache of weights: set FACEUP_CACHE to a folder.") from error


def path_of(weight: WeightSpec) -> Path:
    """Return where a pulled weight file lies or would lie."""
    return folder() / "weights" / weight.sha256 / weight.filename


def pulled(weight: WeightSpec) -> Path | None:
    """Return where a pulled weight file lies; None if it was not pulled or the cache cannot be used."""
    try:
        path = path_of(weight)
    except WeightsError:
        return None
    return path if os.path.isfile(path) else None  # noqa: PTH113 - Path.is_file raises where it may not look


def accepted(weight: WeightSpec) -> bool:
    """Tell whether the file may be used here: its licence restricts nobody, or it was accepted when it was pulled."""
    if weight.commercial:
        return True
    try:
        record = json.loads(_record(weight).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(record, dict) and (record.get("licence"), record.get("sha256")) == (weight.licence, weight.sha256)


def accept(weight: WeightSpec) -> None:
    """Write down that the user accepts the file's licence.

    Raises:
        DataError: nothing can be written to the cache.
    """
    record = {
        "weights": weight.name,
        "sha256": weight.sha256,
        "licence": weight.licence,
        "accepted": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    with whole_or_not_at_all(_record(weight)) as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _record(weight: WeightSpec) -> Path:
    return path_of(weight).with_name("accepted.json")
