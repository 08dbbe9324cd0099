"""A backend in a package of somebody else's, installed by pip: found, checked and run like one of this package."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCE = '''
"""Mirrors the picture, so that nobody takes it for another backend."""

import numpy as np

from faceup.registry import Options
from faceup.types import BackendInfo, Image

INFO = BackendInfo("mirrored", "1", "MIT", "repeats pixels and mirrors the picture", generative=False)


class Mirrored:
    def __init__(self, scale):
        self.scale = scale

    def upscale(self, images):
        return [Image(np.kron(i.pixels, np.ones((self.scale, self.scale, 1), np.uint8))[:, ::-1]) for i in images]


def build(options: Options):
    options.refuse_extra(INFO.name)
    options.refuse_weights(INFO.name)
    return Mirrored(options.scale)
'''

CHECKS = """
from faceup import registry
from tests.contracts import check_info, check_sr
assert "mirrored" in registry.names("sr")
check_info(registry.info("sr", "mirrored"), "mirrored")
check_sr(registry.build("sr", "mirrored", registry.Options(scale=3)))
assert registry.expanded(["all"], 4).count("mirrored") == 0
print("the contract is kept")
"""


def write_wheel(folder: Path) -> Path:
    """Write the wheel of a package with an entry point; pip needs no build tool for it."""
    info = "someones_mirror-1.0.dist-info"
    files = {
        "someones_mirror/__init__.py": "",
        "someones_mirror/mirrored.py": SOURCE,
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: someones-mirror\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[faceup.sr]\nmirrored = someones_mirror.mirrored\n",
    }
    lines = [f"{name},{_record_hash(text)},{len(text)}" for name, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*lines, f"{info}/RECORD,,"]) + "\n"
    path = folder / "someones_mirror-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
    return path


def _record_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def python(*arguments: str, site: Path | None = None) -> str:
    """Run Python with the repository and, if given, another folder of packages, and return what it printed."""
    folders = [str(ROOT), *([str(site)] if site else [])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip installed the package."""
    folder = tmp_path_factory.mktemp("someone")
    target = folder / "site"
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check", "--target", str(target))
    python("-m", "pip", "install", *options, str(write_wheel(folder)))
    assert (target / "someones_mirror-1.0.dist-info" / "entry_points.txt").is_file()
    return target


def test_it_keeps_the_contract(site: Path) -> None:
    assert "the contract is kept" in python("-c", CHECKS, site=site)
    assert "sr mirrored 1: repeats pixels" in python("-m", "faceup", "doctor", site=site)


def test_it_runs(site: Path, examples: Path, tmp_path: Path) -> None:
    probes = tmp_path / "cam"
    probes.mkdir()
    shutil.copy(examples / "probes" / "obama_cam1_paper.jpg", probes)
    sides = ("--gallery", str(examples / "gallery"), "--probes", str(probes), "--device", "cpu")
    out = tmp_path / "run"
    python("-m", "faceup", "run", *sides, "--sr", "mirrored", "--out", str(out), site=site)
    record = json.loads((out / "run.json").read_text())
    (entry,) = [backend for backend in record["backends"] if backend["stage"] == "sr"]
    assert (entry["name"], entry["licence"]) == ("mirrored", "MIT")
    assert "mirrored" in (out / "table.csv").read_text()


def test_it_is_unknown_where_it_is_not_installed() -> None:
    check = "from faceup import registry; print('mirrored' in registry.names('sr'))"
    assert python("-c", check).strip() == "False"
