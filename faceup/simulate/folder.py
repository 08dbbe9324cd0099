"""The output folder: made beside its place, moved there whole, and never at the cost of anybody's files."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from faceup.errors import DataError
from faceup.files import shown
from faceup.simulate.table import TABLE, listed_outputs


@contextmanager
def new_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """Give a temporary folder beside `out`; move it into place when the block ends well, delete it when it does not.

    Raises:
        DataError: `out` exists and `force` is not set, or it holds something that no simulation wrote, or its parent
            cannot be written to.
    """
    _refuse_existing(out, force=force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as error:
        raise DataError(f"{shown(out)}: cannot be made ({error.strerror or error}).") from error
    try:
        yield temporary
        # mkdtemp makes the folder private; give it the mode that an ordinary mkdir would have given it.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o777 & ~mask)
        _refuse_existing(out, force=force)
        _move_into_place(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _refuse_existing(out: Path, *, force: bool) -> None:
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


def _move_into_place(temporary: Path, out: Path) -> None:
    """Put the new folder where the old one was; the old one is deleted only after that."""
    if not os.path.lexists(out):
        temporary.rename(out)
        return
    # Inside a fresh folder no name can be taken.
    aside = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.old."))
    out.rename(aside / out.name)
    try:
        temporary.rename(out)
    except OSError:
        (aside / out.name).rename(out)
        raise
    shutil.rmtree(aside)
