"""What the package offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import faceup

SURFACE = {"RunRecipe", "RunResult", "__version__", "run"}


def test_the_public_names_are_these() -> None:
    assert set(faceup.__all__) == SURFACE
    for name in SURFACE:
        assert getattr(faceup, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(faceup, "no_such_name")


def test_help_loads_none_of_the_heavy_packages() -> None:
    code = (
        "import sys; from faceup.cli.main import main; code = main(['--help']); "
        "heavy = {'torch', 'cv2', 'onnxruntime', 'pandas', 'numpy', 'PIL', 'rich'} & set(sys.modules); "
        "sys.exit(code or ', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "evaluate-sr" in done.stdout
