"""The documents tell the truth: the tutorial's code runs, the README's commands name what exists."""

from __future__ import annotations

import re
import sys
import types

import numpy as np
import pytest

from faceup import registry
from tests.conftest import ROOT
from tests.contracts import check_sr


def test_the_tutorials_backend_fulfils_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / "docs" / "add_a_backend.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    module = types.ModuleType("tutorial_nearest")
    exec(compile(code, "add_a_backend.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(registry._found("sr"), "nearest", module.__name__)
    backend = registry.build("sr", "nearest", registry.Options(scale=3))
    check_sr(backend)
    from tests.helpers import noise

    image = noise(4, 5)
    (enlarged,) = backend.upscale([image])
    np.testing.assert_array_equal(enlarged.pixels, np.kron(image.pixels, np.ones((3, 3, 1), np.uint8)))


@pytest.mark.parametrize("page", sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]), ids=lambda p: p.name)
def test_links_inside_the_repository_lead_somewhere(page) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target
