"""Finding, checking and building plug-ins, of this package and of others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faceup import registry
from faceup.errors import ConfigError, ContractError
from faceup.registry import STAGES, Options, split_name
from faceup.types import BackendInfo

GOOD = """
from faceup.types import BackendInfo
INFO = BackendInfo("mirror", "1", "MIT", "flips", generative=False)
class Mirror:
    scale = 1
    def upscale(self, images): return list(images)
def build(options): return Mirror()
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on sys.path like a site-packages, forgotten afterwards."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    loaded = set(sys.modules)
    registry._found.cache_clear()
    yield folder
    registry._found.cache_clear()
    for name in set(sys.modules) - loaded:
        if name.startswith("someones_"):
            del sys.modules[name]


def install(site: Path, points: dict[str, str], *, group: str = "faceup.sr", package: str = "someones-plugin") -> None:
    info = site / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "".join(f"{name} = {module}\n" for name, module in points.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")


def test_every_stage_has_its_own_plug_ins() -> None:
    assert {"none", "bicubic", "sisn"} <= set(registry.names("sr"))
    assert "mtcnn" in registry.names("detect")
    assert {"mobilefacenet", "mobilefacenet-lr"} <= set(registry.names("embed"))
    # A module's underscores are dashes on the command line.
    assert "sisn-surveillance" in registry.names("sr")
    for stage in STAGES:
        names = registry.names(stage)
        assert names == sorted(names)
        assert not any(name.startswith("_") for name in names)


def test_info_and_build() -> None:
    assert registry.info("sr", "bicubic").name == "bicubic"
    assert registry.build("sr", "bicubic", Options(scale=3)).scale == 3


def test_unknown_names_are_refused_with_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="Unknown sr backend 'bicubc': did you mean 'bicubic'"):
        registry.build("sr", "bicubc", Options())
    with pytest.raises(ConfigError, match=r"Unknown embed backend 'zzz': known: .*mobilefacenet"):
        registry.info("embed", "zzz")


def test_unknown_settings_and_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match="Unknown setting of bicubic 'sharpness'"):
        registry.build("sr", "bicubic", Options(extra={"sharpness": 3}))
    with pytest.raises(ConfigError, match="Unknown setting of mtcnn 'max_sides': did you mean 'max_side'"):
        registry.build("detect", "mtcnn", Options(extra={"max_sides": 3}))
    with pytest.raises(ConfigError, match=r"'bicubic' takes no file: write 'bicubic' without ':w\.pth'"):
        registry.build("sr", "bicubic", Options(weights=Path("w.pth")))


def test_a_plug_in_of_another_package_is_found_and_built(site: Path) -> None:
    install(site, {"mirror": "someones_mirror"})
    (site / "someones_mirror.py").write_text(GOOD)
    assert "mirror" in registry.names("sr")
    assert "mirror" not in registry.names("detect")
    assert "someones_mirror" not in sys.modules
    assert registry.info("sr", "mirror") == BackendInfo("mirror", "1", "MIT", "flips", generative=False)
    assert registry.build("sr", "mirror", Options()).scale == 1


def test_a_name_of_this_package_cannot_be_taken(site: Path) -> None:
    install(site, {"bicubic": "someones_bicubic"})
    with pytest.raises(ContractError, match=r"named 'bicubic': faceup\.sr\.bicubic and someones_bicubic"):
        registry.names("sr")
    assert registry.names("detect")


def test_two_packages_cannot_share_a_name(site: Path) -> None:
    install(site, {"mirror": "someones_mirror"})
    install(site, {"mirror": "someones_other"}, package="another-plugin")
    with pytest.raises(ContractError, match="Two plug-ins of stage sr are named 'mirror'"):
        registry.names("sr")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "needs INFO, a BackendInfo, and build"),
        ("INFO = 'mirror'\ndef build(options): ...", "needs INFO, a BackendInfo, and build"),
        (GOOD.replace("def build(options): return Mirror()", "build = None"), "needs INFO, a BackendInfo, and build"),
        (GOOD.replace("return Mirror()", "return object()"), "'mirror' of stage sr does not follow SrBackend"),
        (GOOD.replace("scale = 1", "size = 1"), "does not follow SrBackend"),
        (GOOD.replace("def upscale", "def enlarge"), "does not follow SrBackend"),
        (GOOD + "\n1 / 0\n", "someones_mirror fails when it is imported: ZeroDivisionError: division by zero"),
        ("def broken(:", "someones_mirror fails when it is imported: SyntaxError"),
    ],
)
def test_a_broken_plug_in_is_a_contract_error(source: str, message: str, site: Path) -> None:
    install(site, {"mirror": "someones_mirror"})
    (site / "someones_mirror.py").write_text(source)
    with pytest.raises(ContractError, match=message):
        registry.build("sr", "mirror", Options())
    assert registry.build("sr", "bicubic", Options()).scale == 4


def test_a_plug_in_that_needs_something_that_is_not_installed(site: Path) -> None:
    install(site, {"mirror": "someones_mirror", "gone": "someones_gone", "old": "someones_old"})
    (site / "someones_mirror.py").write_text("import someones_missing_library")
    (site / "someones_old.py").write_text("from faceup.types import OfALaterVersion")
    with pytest.raises(ConfigError, match="'mirror' cannot be loaded: No module named 'someones_missing_library'"):
        registry.info("sr", "mirror")
    with pytest.raises(ConfigError, match="'old' cannot be loaded: cannot import name 'OfALaterVersion'"):
        registry.info("sr", "old")
    with pytest.raises(ConfigError, match="'gone' cannot be loaded: No module named 'someones_gone'"):
        registry.info("sr", "gone")


WITH_WEIGHTS = GOOD.replace("generative=False", "generative=True, weights=('mirror-x4', 'mirror-x8')")


def test_all_stands_for_what_runs_without_a_file(site: Path) -> None:
    install(site, {"mirror": "someones_mirror", "amirror": "someones_other"})
    (site / "someones_mirror.py").write_text(WITH_WEIGHTS)
    (site / "someones_other.py").write_text(GOOD)
    names = registry.expanded(["all"], 4)
    assert names[:2] == ["none", "bicubic"]
    assert {"sisn", "mirror"} <= set(names[2:])
    assert names[2:] == sorted(names[2:])
    assert {"amirror", "onnx", "spandrel"} & set(names) == set()
    assert "mirror" in registry.expanded(["all"], 8)
    assert registry.expanded(["all"], 3) == ["none", "bicubic"]
    assert registry.expanded(["rcan:w.pth", "bicubic", "all"], 3) == ["rcan:w.pth", "bicubic", "none"]
    assert registry.expanded(["bicubic", "sisn"], 4) == ["bicubic", "sisn"]


def test_every_backend_that_all_names_is_built() -> None:
    for scale in (2, 4, 8):
        for name in registry.expanded(["all"], scale):
            assert registry.build("sr", name, Options(scale=scale)).scale in (1, scale)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bicubic", ("bicubic", None)),
        ("sisn:w.pth", ("sisn", Path("w.pth"))),
        ("sisn:/a b/c:d.pth", ("sisn", Path("/a b/c:d.pth"))),
    ],
)
def test_split_name(text: str, expected: tuple[str, Path | None]) -> None:
    assert split_name(text) == expected


def test_split_name_refuses_an_empty_file() -> None:
    with pytest.raises(ConfigError, match="'sisn:' has a colon but no file behind it"):
        split_name("sisn:")
