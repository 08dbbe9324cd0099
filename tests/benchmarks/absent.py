"""A system that is not installed, for `test_benchmarks`."""

from __future__ import annotations

from typing import NoReturn

from benchmarks.workers import serve


def build() -> NoReturn:
    """Import what nobody has."""
    raise ModuleNotFoundError("No module named 'nobody_has_this'")


serve(build)
