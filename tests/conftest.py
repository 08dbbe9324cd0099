"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No test may fail because the machine is busy.
settings.register_profile("faceup", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("faceup")

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
