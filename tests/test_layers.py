"""The shape of the package: imports point one way, files stay small, and `import faceup` costs nothing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "faceup"
MAX_LINES = 350

# From the lowest up. A module may import lower tiers and its own package, never its neighbours; so the stages do not
# know each other. A new module of faceup/ gets its place here.
TIERS: tuple[frozenset[str], ...] = (
    frozenset({"errors"}),
    frozenset({"files", "defaults"}),
    frozenset({"types"}),
    frozenset({"protocols", "native"}),
    frozenset({"registry", "recipe", "weights", "images", "runtime", "networks", "frames", "geometry"}),
    frozenset({"manifest", "pictures"}),
    frozenset({"sr", "detect", "align", "embed", "match", "metrics"}),
    frozenset({"search"}),
    frozenset({"report"}),
    frozenset({"acquire", "compare"}),
    frozenset({"shared_landmarks", "record", "result"}),
    frozenset({"pipeline", "gallery"}),
    frozenset({"archive", "train", "simulate", "evaluate_sr", "evaluate", "datasets", "bench"}),
    frozenset({"cli"}),
    frozenset({"__main__"}),
)
FILES = sorted(PACKAGE.rglob("*.py"))


def placed(unit: str) -> bool:
    return any(unit in units for units in TIERS)


def tier(unit: str) -> int:
    return next(level for level, units in enumerate(TIERS) if unit in units)


def module_name(path: Path) -> tuple[str, ...]:
    """('faceup', 'detect', 'mtcnn') of faceup/detect/mtcnn.py; a package is named by its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported(source: str, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and name, below `faceup`, of every import of the package's own; `package` resolves relative ones."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            home = ".".join([*base, *([node.module] if node.module else [])])
            found = [f"{home}.{alias.name}" for alias in node.names] if home == "faceup" else [home]
        else:
            continue
        for name in found:
            if name.split(".")[0] == "faceup":
                yield node.lineno, name.partition(".")[2]


def violations(path: Path, source: str) -> list[str]:
    """What a file imports though it must not."""
    name = module_name(path)
    if len(name) == 1:
        return []  # faceup/__init__.py only names, lazily, what others hold.
    if not placed(name[1]):
        return [f"{path.relative_to(ROOT)} has no place in TIERS"]
    package = name if path.name == "__init__.py" else name[:-1]
    wrong = []
    for line, target in imported(source, package):
        unit = target.split(".")[0]
        if unit in (name[1], "__version__"):
            continue
        if not placed(unit):
            wrong.append(f"{path.relative_to(ROOT)}:{line} imports faceup.{target}, which has no place in TIERS")
        elif tier(unit) >= tier(name[1]):
            wrong.append(
                f"{path.relative_to(ROOT)}:{line} imports faceup.{target}, which is not below faceup.{name[1]}"
            )
    return wrong


def test_every_module_has_one_place() -> None:
    units = {module_name(path)[1] for path in FILES if len(module_name(path)) > 1}
    assert len(units) > 10
    assert [unit for unit in sorted(units) if not placed(unit)] == []
    assert sum(len(level) for level in TIERS) == len(frozenset[str]().union(*TIERS))


def test_imports_point_one_way() -> None:
    assert [wrong for path in FILES for wrong in violations(path, path.read_text(encoding="utf-8"))] == []


@pytest.mark.parametrize(
    ("file", "source", "wrong"),
    [
        ("sr/new.py", "from faceup.detect import chosen_face", "detect"),
        ("sr/new.py", "from faceup import align", "align"),
        ("sr/new.py", "import faceup.match", "match"),
        ("sr/new.py", "from ..match import cosine_scores", "match"),
        ("sr/new.py", "def f():\n    from faceup.pipeline import run", "pipeline"),
        ("types.py", "from .protocols import SrBackend", "protocols"),
        ("detect/__init__.py", "from ..embed import mobilefacenet", "embed"),
        ("sr/new.py", "from faceup import run", "run"),
        ("sr/new.py", "from faceup.brand_new import x", "brand_new"),
        ("sr/new.py", "from faceup.sr._network import a\nfrom . import b\nfrom faceup import __version__", None),
        ("sr/new.py", "import torch, faceup.types\nfrom faceup.errors import DataError", None),
    ],
)
def test_the_rule_sees_every_way_to_import(file: str, source: str, wrong: str | None) -> None:
    found = violations(PACKAGE / file, source)
    assert len(found) == (wrong is not None)
    assert wrong is None or f"imports faceup.{wrong}" in found[0]


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


WATCHED_IMPORT = """
import json, sys
opened = []
sys.addaudithook(lambda event, args: opened.append((str(args[0]), str(args[1]))) if event == "open" else None)
sys.path.insert(0, sys.argv[1])
import faceup
assert faceup.__version__
assert {"run", "RunRecipe", "RunResult"} <= set(dir(faceup))
print(json.dumps({"opened": opened, "loaded": sorted(sys.modules)}))
"""


def test_import_faceup_loads_nothing_heavy_warns_of_nothing_and_touches_no_other_file(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-I", "-B", "-W", "error", "-c", WATCHED_IMPORT, str(ROOT)],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    heavy = {"torch", "torchvision", "cv2", "onnxruntime", "pandas", "facenet_pytorch"}
    assert heavy & {name.split(".")[0] for name in told["loaded"]} == set()
    others = [(path, mode) for path, mode in told["opened"] if not path.endswith((".py", ".pyc"))]
    assert others == []
    assert any("faceup" in path for path, _ in told["opened"])
    assert all(mode in ("r", "rb") for _, mode in told["opened"])
    assert list(tmp_path.iterdir()) == []
