"""Finding the code in C: it is built where that is possible, and never used where it cannot be."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from faceup import native


@pytest.fixture
def asked_anew() -> Iterator[None]:
    native.library.cache_clear()
    yield
    native.library.cache_clear()


@pytest.mark.skipif(os.name != "posix" or shutil.which("cc") is None, reason="no C compiler")
def test_it_is_built_where_a_compiler_is() -> None:
    assert list(Path(native.__file__).parent.glob("_native*.so"))


@pytest.mark.skipif(native.library() is None, reason="the code in C was not built")
def test_the_sources_have_the_version_that_is_asked_for() -> None:
    source = (Path(native.__file__).parent / "library.c").read_text(encoding="utf-8")
    assert f"faceup_native_version(void) {{ return {native.VERSION}; }}" in source


@pytest.mark.usefixtures("asked_anew")
def test_without_a_file_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native, "_FOLDER", tmp_path)
    assert native.library() is None


@pytest.mark.usefixtures("asked_anew")
def test_a_file_that_cannot_be_loaded_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native, "_FOLDER", tmp_path)
    (tmp_path / f"_native{native.EXTENSION_SUFFIXES[0]}").write_bytes(b"no library")
    assert native.library() is None


@pytest.mark.parametrize(
    ("version", "usable", "taken"),
    [(native.VERSION, 1, True), (native.VERSION + 1, 1, False), (native.VERSION, 0, False)],
)
@pytest.mark.usefixtures("asked_anew")
def test_only_the_right_version_on_the_right_processor_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: int, usable: int, taken: bool
) -> None:
    built = SimpleNamespace(
        faceup_native_version=lambda: version, faceup_native_usable=lambda: usable,
        **{f"faceup_{name}{what}": SimpleNamespace() for name in ("sisn", "mtcnn") for what in ("", "_scratch")},
    )  # fmt: skip
    opened: list[Any] = []

    def load(path: str) -> Any:
        opened.append(path)
        return built

    file = tmp_path / f"_native{native.EXTENSION_SUFFIXES[0]}"
    file.touch()
    monkeypatch.setattr(native, "_FOLDER", tmp_path)
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert (native.library() is built) == taken
    assert opened == [str(file)]
