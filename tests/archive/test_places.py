"""Camera and time from paths."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from faceup.archive.places import Place, Places, read_time, time_zone, write_time
from faceup.errors import ConfigError

NOON = int(datetime(2024, 1, 31, 12, 0, 5, tzinfo=timezone.utc).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("pattern", "path", "place"),
    [
        ("{camera}/{date}/{time}.mp4", "gate 1/2024-01-31/120005.mp4", Place("gate 1", NOON)),
        ("{camera}/{date}/{time}", "gate/20240131/12-00-05.mkv", Place("gate", NOON)),
        ("**/{camera}_{date}_{time}", "a/b/gate_20240131_120005.avi", Place("gate", NOON)),
        ("{date}/{camera}/*-{time}", "2024-01-31/gate/x-12:00:05.ts", Place("gate", NOON)),
        ("{camera}/{timestamp}", "gate/1706702405.25.jpg", Place("gate", NOON + 250_000)),
        ("{camera}/{date}/{time}/{frame}", "gate/20240131/120005/0050.jpg", Place("gate", NOON + 2_000_000)),
        ("{camera}/{frame}", "gate/0025.jpg", Place("gate", 1_000_000)),
        ("{camera}/*", "gate/anything.mp4", Place("gate")),
    ],
)
def test_patterns(pattern: str, path: str, place: Place) -> None:
    assert Places(pattern, fps=25).of(path, video=True, root="root") == place


def test_without_a_pattern_folders_are_cameras() -> None:
    places = Places()
    assert places.of("hall/a.mp4", video=True, root="root") == Place("hall")
    assert places.of("hall/2/a.jpg", video=False, root="root") == Place("hall/2")
    assert places.of("a.mp4", video=True, root="root") == Place("a")
    assert places.of("a.jpg", video=False, root="root") == Place("root")
    assert places.of("001_cam3_2.jpg", video=False, root="root") == Place("cam3")


def test_what_does_not_fit_is_told() -> None:
    found = Places("{camera}/{date}/{time}").of("hall/a.mp4", video=True, root="root")
    assert (found.camera, found.start_us) == ("hall", None)
    assert "does not fit the pattern" in found.note
    found = Places("{camera}/{date}").of("hall/20241331.mp4", video=True, root="root")
    assert (found.camera, found.start_us) == ("hall", None)
    assert found.note.startswith("no time: ")


@pytest.mark.parametrize("digits", ["20240131235959", "20240131235959123", "9" * 400])
def test_a_number_too_large_for_a_time_is_told(digits: str) -> None:
    found = Places("{camera}/{frame}.png", fps=25).of(f"hall/{digits}.png", video=False, root="root")
    assert (found.camera, found.start_us) == ("hall", None)
    assert found.note.startswith("no time: ")
    with pytest.raises(ValueError, match="later than"):
        read_time("9999-06-01T00:00:00", timezone.utc)


def test_time_zones() -> None:
    berlin = Places("{camera}/{date}/{time}", time_zone("Europe/Berlin"))
    assert berlin.of("gate/20240131/130005.mp4", video=True, root="root").start_us == NOON
    assert read_time("2024-01-31T13:00:05+01:00", timezone.utc) == NOON
    assert read_time("2024-01-31T12:00:05Z", time_zone("Europe/Berlin")) == NOON
    assert write_time(NOON + 1_500) == "2024-01-31T12:00:05.001Z"


@pytest.mark.parametrize("pattern", ["{camra}/x", "{camera}/{camera}", "plain/path", "{}"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(ConfigError, match="--pattern"):
        Places(pattern)


def test_frames_need_a_rate() -> None:
    with pytest.raises(ConfigError, match="--fps"):
        Places("{camera}/{frame}")
