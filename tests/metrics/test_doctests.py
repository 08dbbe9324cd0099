"""The examples in the docstrings of the metrics run and give what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import faceup.metrics

MODULES = [m.name for m in pkgutil.iter_modules(faceup.metrics.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    module = importlib.import_module(f"faceup.metrics.{name}")
    assert doctest.testmod(module).failed == 0


def test_every_public_metric_of_the_error_rates_has_an_example() -> None:
    finder = doctest.DocTestFinder(exclude_empty=False)
    for name in ("bootstrap", "verification", "identification", "separation", "significance"):
        module = importlib.import_module(f"faceup.metrics.{name}")
        public = {k for k, v in vars(module).items() if callable(v) and getattr(v, "__module__", "") == module.__name__}
        functions = {n for n in public if not n.startswith("_") and n[0].islower()}
        examples = {t.name.rsplit(".", 1)[-1] for t in finder.find(module) if t.examples}
        assert functions - examples - {"difference"} == set()
