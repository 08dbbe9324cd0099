"""Files of any kind: names that can be shown, hashes, and writing that leaves a whole file or none."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faceup.errors import DataError


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path as text that can always be printed and written; bytes that are not UTF-8 become \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()


def csv_text(value: str) -> str:
    """Return a text cell that no spreadsheet runs as a formula: an apostrophe before a leading = + - @ or tab.

    A leading apostrophe gets another, so that `plain_text` gives the text back. A CR, which would begin a row where the
    writer does not quote it, becomes a backslash and an r for good.
    """
    value = value.replace("\r", "\\r")
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "'")) else value


def plain_text(cell: str) -> str:
    """Return the text of which `csv_text` made a cell."""
    return cell[1:] if cell[:1] == "'" and csv_text(cell[1:]) == cell else cell


@contextmanager
def whole_or_not_at_all(path: Path, *, follow: bool = False) -> Iterator[Path]:
    """Give a temporary path beside `path`; move it into place when the block ends well, delete it when it does not.

    Args:
        path: the file to make or replace.
        follow: write to the file that a link at `path` leads to, for a path that the user gave. Else the link itself is
            replaced, as it should be in a folder that somebody else may have made.

    Raises:
        DataError: nothing can be written there, or what stands there is no file (a folder, a pipe, a device), which
            must not be replaced by one. An error of the block itself is passed on as it is.
    """
    place = _file_at(path, follow=follow)
    # The name is short, so that the longest possible `path` still works. Made here and not by tempfile, which makes it
    # private: so the file gets the mode of any other, and umask is not touched, which other threads would notice.
    temporary = place.parent / f".{secrets.token_hex(8)}.part"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)
        mode = stat.S_IMODE(temporary.stat().st_mode)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield temporary
        try:
            temporary.chmod(mode)  # safetensors puts a private file in its place.
            temporary.replace(place)
        except OSError as error:
            raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _file_at(path: Path, *, follow: bool) -> Path:
    """Return the path of the file that is to be made or replaced for `path`."""
    advice = "give the name of a file to make or replace."
    try:
        place = path
        if path.is_symlink():
            if not follow:
                return path
            # /dev/stdout leads to whatever the shell opened: a file, too, must not be replaced while it is written.
            parent = os.path.realpath(path.parent)
            if parent == "/dev" or parent.startswith("/proc/"):
                raise DataError(f"{shown(path)}: cannot be written (it stands for an open stream): {advice}")
            place = Path(os.path.realpath(path))
        mode = place.lstat().st_mode
    except FileNotFoundError:
        return place
    except OSError as error:
        raise _unwritable(path, error) from error
    if stat.S_ISREG(mode):
        return place
    kind = "a folder" if stat.S_ISDIR(mode) else "a link in a circle" if stat.S_ISLNK(mode) else "a device or a pipe"
    raise DataError(f"{shown(path)}: cannot be written (it is no file but {kind}): {advice}")


def refuse_existing(
    folder: Path,
    maker: str,
    mark: str,
    own: Callable[[str], object],
    *,
    force: bool,
    marked: Callable[[Path], bool] = os.path.isfile,  # Path.is_file raises where a folder may not be entered
) -> None:
    """Raise DataError if a command must not write to `folder`; what another command or a person made is never replaced.

    Args:
        folder: where to write.
        maker: the command, for the messages.
        mark: the file, relative to `folder`, that every folder of the command has.
        own: tells whether a path relative to `folder`, with `/`, is one of the command's files; asked only where the
            mark is there.
        force: the user wants an earlier result replaced.
        marked: tells of the path of the mark whether it is one.
    """
    if not os.path.lexists(folder):
        return
    if not force:
        raise DataError(f"{shown(folder)} exists already: choose another folder, or replace it with --force.")
    if folder.is_symlink() or not marked(folder / mark):
        raise DataError(f"{shown(folder)} was not made by {maker} (no {mark} of its kind in it): it is not replaced.")
    unlisted: list[OSError] = []
    paths: list[Path] = []
    for here, below, files in os.walk(folder, onerror=unlisted.append):
        # A link to a folder is not walked into; empty folders hold nothing to lose.
        links = [name for name in below if (Path(here) / name).is_symlink()]
        paths += [Path(here) / name for name in (*files, *links)]
    foreign = [Path(error.filename).relative_to(folder).as_posix() for error in unlisted]
    foreign += [name for path in paths if not own(name := path.relative_to(folder).as_posix())]
    if foreign:
        raise DataError(
            f"{shown(folder)} holds {len(foreign)} files or folders that {maker} did not write, e.g. "
            f"{shown(min(foreign))}: it is not replaced. Move them away, or choose another folder."
        )


@contextmanager
def whole_folder(target: Path, refuse: Callable[[Path], None]) -> Iterator[Path]:
    """Give a temporary folder beside `target`; move it into place when the block ends well, delete it when it does not.

    A folder that stands there already is put aside first, comes back if the move fails, and is deleted only after it.

    Args:
        target: the folder to make or replace.
        refuse: raises DataError if what stands at `target` must not be replaced; asked before the block and after it.

    Raises:
        DataError: `refuse` says so, or something cannot be written; an OSError of the block is taken for that.
    """
    refuse(target)
    temporary, aside = (target.parent / f".{secrets.token_hex(8)}.{end}" for end in ("part", "old"))
    try:
        try:
            temporary.mkdir(parents=True)
            yield temporary
            refuse(target)
            replaced = os.path.lexists(target)
            if replaced:
                target.rename(aside)
            try:
                temporary.rename(target)
            except OSError:
                if replaced:
                    aside.rename(target)
                raise
        except OSError as error:
            raise _unwritable(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    if replaced:
        shutil.rmtree(aside, ignore_errors=True)


def check_writable(target: Path) -> None:
    """Try whether a folder can be made beside `target`, so that nobody learns the opposite after hours of work.

    Raises:
        DataError: it cannot.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="."):
            pass
    except OSError as error:
        raise _unwritable(target, error) from error


def _unwritable(path: Path, error: OSError) -> DataError:
    return DataError(f"{shown(path)}: cannot be written ({error.strerror or error}).")
