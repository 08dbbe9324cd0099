"""Finding the code in C: it is built where that is possible, and never used where it cannot be."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from faceup import native
from faceup.native import mtcnn as native_mtcnn
from faceup.native import sisn as native_sisn
from faceup.native import sources
from faceup.networks.mtcnn import layers
from faceup.networks.mtcnn_native import mtcnn_in_c
from faceup.networks.sisn import SisnConfig
from faceup.networks.sisn_native import sisn_in_c
from faceup.types import Floats
from faceup.weights import store
from tests.networks.test_sisn_native import seeded


@pytest.fixture
def asked_anew() -> Iterator[None]:
    native.library.cache_clear()
    yield
    native.library.cache_clear()


def compiler() -> str:
    """Return the C compiler, or skip."""
    found = shutil.which("cc")
    if os.name != "posix" or found is None:
        pytest.skip("no C compiler")
    return found


def test_it_is_built_of_these_sources_where_a_compiler_is() -> None:
    compiler()
    assert list(Path(native.__file__).parent.glob("_native*.so"))
    cpu = Path("/proc/cpuinfo")
    if platform.machine() != "x86_64" or (cpu.is_file() and "avx2" in cpu.read_text(encoding="utf-8")):
        assert native.library() is not None, "the library is older than its sources: pip install -e ."


def test_what_other_processors_get_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of four floats, without intrinsics, as on ARM."""
    if native.library() is None:
        pytest.skip("the code in C was not built")
    plain = tmp_path / "plain.so"
    files = [str(path) for path in sources.sources() if path.suffix == ".c"]
    options = ["-O1", "-std=gnu11", "-DFACEUP_PLAIN", '-DFACEUP_SOURCES=""', "-shared", "-fPIC", "-lm", "-lpthread"]
    subprocess.run([compiler(), *files, *options, "-o", str(plain)], check=True, capture_output=True)
    found = ctypes.CDLL(str(plain))
    for name in ("sisn", "mtcnn"):
        getattr(found, f"faceup_{name}_scratch").restype = ctypes.c_size_t
    assert found.faceup_native_usable() == 1
    rng = np.random.default_rng(0)
    made = sisn_in_c(seeded(SisnConfig(1, 2, 32, 4, 4, "direct")))
    picture = rng.integers(0, 256, (3, 21, 18)).astype(np.float32)
    nets = [mtcnn_in_c(name, layers(name, store.load(f"mtcnn-{name}").tensors)) for name in ("pnet", "rnet", "onet")]
    crops = [rng.integers(0, 256, (5, 3, side, side)).astype(np.float32) for side in (37, 24, 48)]

    def answers() -> list[Floats]:
        scratch = np.empty(made.scratch(21, 18, 2), np.float32)
        return [made.run(picture, 2, scratch), *(net.run(some, 2) for net, some in zip(nets, crops, strict=True))]

    wanted = answers()
    for module in (native_sisn, native_mtcnn):
        monkeypatch.setattr(module, "built", lambda: found)
    for got, value in zip(answers(), wanted, strict=True):
        np.testing.assert_allclose(got, value, rtol=0, atol=1e-3)


@pytest.mark.skipif(native.library() is None, reason="the code in C was not built")
def test_what_does_not_fit_never_reaches_it() -> None:
    net = mtcnn_in_c("rnet", layers("rnet", store.load("mtcnn-rnet").tensors))
    good = np.zeros((2, 3, 24, 24), np.float32)
    assert net.run(good, 0).shape == (2, 5)
    with pytest.raises(ValueError, match="contiguous and float32"):
        net.run(good.astype(np.float64), 1)
    with pytest.raises(ValueError, match="contiguous and float32"):
        net.run(good[:, :, :, ::-1], 1)
    with pytest.raises(ValueError, match="rnet takes no pictures of 23 x 24 px"):
        net.run(np.zeros((1, 3, 24, 23), np.float32), 1)
    made = sisn_in_c(seeded(SisnConfig(1, 1, 16, 2, 2, "direct")))
    for side, spare in ((3, 0), (9, -1)):
        with pytest.raises(ValueError, match="too small"):
            made.run(np.zeros((3, side, 9), np.float32), 1, np.empty(made.scratch(side, 9, 1) + spare, np.float32))


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
    ("built_of", "usable", "lacks", "taken"),
    [
        (sources.digest(), 1, "", True),
        ("another digest", 1, "", False),
        (sources.digest(), 0, "", False),
        (sources.digest(), 1, "faceup_mtcnn", False),
        (sources.digest(), 1, "faceup_native_sources", False),
    ],
)
@pytest.mark.usefixtures("asked_anew")
def test_only_what_was_built_of_these_sources_for_this_processor_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, built_of: str, usable: int, lacks: str, taken: bool
) -> None:
    class Function:
        def __init__(self, answer: object) -> None:
            self.answer = answer

        def __call__(self) -> object:
            return self.answer

    there = {f"faceup_{name}{what}": Function(None) for name in ("sisn", "mtcnn") for what in ("", "_scratch")}
    there |= {"faceup_native_sources": Function(built_of.encode()), "faceup_native_usable": Function(usable)}
    built = SimpleNamespace(**{name: function for name, function in there.items() if name != lacks})
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
