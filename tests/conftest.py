"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# The networks of the tests are small. With several threads each waits for the slowest, and on a busy machine that takes
# thirty times as long; must be set before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with golden tensors and faces, which is no part of the repository; tests that need it skip without."""
    folder = Path(os.environ.get("FACEUP_SHARED", ROOT.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip("the shared folder with golden tensors and faces is absent; set FACEUP_SHARED to it")
    return folder


@pytest.fixture(scope="session")
def examples() -> Path:
    """The public-domain pictures of the repository."""
    return ROOT / "examples"


@pytest.fixture(scope="session")
def _lpips_cache(pytestconfig: pytest.Config) -> Path:
    """A cache folder that holds the weights of LPIPS, the user's own if they are there; else they are pulled once."""
    from faceup.errors import WeightsError
    from faceup.weights import cache, store
    from faceup.weights.catalog import spec
    from faceup.weights.fetch import UnreachableError
    from faceup.weights.pull import pull

    names = ("lpips-alex", "lpips-alex-heads")
    try:
        for name in names:
            store.locate(spec(name))
    except WeightsError:
        folder = pytestconfig.cache.mkdir("faceup") if pytestconfig.cache else pytest.skip("pytest has no cache")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FACEUP_CACHE", str(folder))
            try:
                for name in names:
                    pull(name)
            except UnreachableError as error:
                pytest.skip(f"the weights of LPIPS are not here and cannot be pulled: {error}")
        return folder
    return cache.folder()


@pytest.fixture
def lpips_weights(_lpips_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes the weights of LPIPS available; skips where they are not and no package index is reached."""
    monkeypatch.setenv("FACEUP_CACHE", str(_lpips_cache))
    return _lpips_cache


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weight cache with nothing in it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FACEUP_CACHE", str(folder))
    return folder
