"""Small pictures and values for tests."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import pytest

from faceup.types import Image


def grey(width: int, height: int, value: int = 128) -> Image:
    """A picture of one grey."""
    return Image(np.full((height, width, 3), value, np.uint8))


def noise(width: int, height: int, seed: int = 0) -> Image:
    """A picture of random pixels."""
    return Image(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def lock_folders(monkeypatch: pytest.MonkeyPatch, locked: Callable[[str], bool]) -> None:
    """Let the folders of which `locked` is true refuse to be listed, also for root."""
    scan = os.scandir

    def refusing(path: str) -> object:
        if locked(str(path)):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
