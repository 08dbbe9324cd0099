"""The output folder of a simulation, which never replaces anybody's files."""

from __future__ import annotations

import os
from pathlib import Path

from faceup.errors import DataError
from faceup.files import shown
from faceup.simulate.table import TABLE, listed_outputs


def refuse_existing(out: Path, *, force: bool) -> None:
    """Raise DataError if a simulation must not be written to `out`.

    Raises:
        DataError: `out` exists and `force` is not set, or it holds something that no simulation wrote.
    """
    if not os.path.lexists(out):
        return
    if not force:
        raise DataError(f"{shown(out)} exists already; choose another folder, or replace it with --force.")
    if out.is_symlink() or not out.is_dir() or not (out / TABLE).is_file():
        raise DataError(f"{shown(out)} is not the folder of a simulation (no {TABLE} in it) and is left alone.")
    ours = {TABLE, *listed_outputs(out)}
    foreign = [p for p in sorted(out.rglob("*")) if not _is_ours(p, out, ours)]
    if foreign:
        raise DataError(
            f"{shown(out)} holds {len(foreign)} files that no simulation wrote, e.g. {shown(foreign[0])}; "
            "it is left alone. Move them away or choose another folder."
        )


def _is_ours(path: Path, out: Path, ours: set[str]) -> bool:
    relative = path.relative_to(out).as_posix()
    if path.is_dir() and not path.is_symlink():
        return any(name.startswith(f"{relative}/") for name in ours)
    return relative in ours
