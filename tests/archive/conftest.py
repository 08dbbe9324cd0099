"""The fake networks, for every test of archives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.archive import fakes


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the plug-in package."""
    return fakes.install(tmp_path_factory.mktemp("plugin") / "site")


@pytest.fixture
def fake(plugin: Path) -> Iterator[Path]:
    """The plug-in, found by this process."""
    with fakes.installed(plugin):
        yield plugin
