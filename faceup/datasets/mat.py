"""MATLAB files in which TinyFace and SurvFace list names and identities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from faceup.errors import DataError
from faceup.files import shown

# The largest list of both sets is below 10 MB.
MAX_BYTES = 64 * 2**20


def read_lists(path: Path, *keys: str) -> list[list[str]]:
    """Return some variables of a MATLAB file as lists of text, numbers as they are written.

    A variable with two columns becomes a list of its rows, left to right.

    Raises:
        DataError: the file is missing, too large, no MATLAB file, or lacks a variable; or the variables differ in
            length.
    """
    from scipy.io import loadmat

    if not path.is_file():
        raise DataError(f"{shown(path)}: missing; it lists who is on which picture and comes with the data set.")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{shown(path)}: {path.stat().st_size} bytes, more than the {MAX_BYTES} allowed for a list.")
    try:
        content = loadmat(str(path), variable_names=list(keys))
    except Exception as error:
        # scipy raises nearly anything on damaged files; each means the same.
        raise DataError(f"{shown(path)}: not a MATLAB file ({type(error).__name__}: {error}).") from error
    for key in keys:
        if key not in content:
            raise DataError(f"{shown(path)}: lacks the variable {key}.")
    lists = [[_text(cell) for cell in np.asarray(content[key]).reshape(-1)] for key in keys]
    for name in (name for names in lists for name in names):
        # A name with a folder in it could make a run read any picture of the user's machine.
        if name in ("", ".", "..") or set(name) & set("/\\\0"):
            raise DataError(f"{shown(path)}: {name!r} is no plain name of a picture or person.")
    if len({len(names) for names in lists}) > 1:
        counts = " and ".join(f"{len(names)} entries of {key}" for key, names in zip(keys, lists, strict=True))
        raise DataError(f"{shown(path)}: {counts}, which should be as many: names of pictures and who is on them.")
    return lists


def _text(cell: Any) -> str:
    while isinstance(cell, np.ndarray):
        if cell.size != 1:
            return "".join(str(part) for part in cell.reshape(-1))
        cell = cell.reshape(-1)[0]
    return str(cell).strip()
