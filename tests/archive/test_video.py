"""Videos: every frame with the file's own timestamp, in parts or as a whole, whatever the container."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from faceup.archive import video
from faceup.archive.settings import Every, parse_every
from faceup.archive.video import Inventory, Part, covered, inventory, ranges, wanted
from faceup.errors import ConfigError, DataError
from tests.archive import fakes

UNEVEN = [40 * i + (13 if i % 3 else 0) + (900 if i > 30 else 0) for i in range(60)]


@pytest.mark.parametrize(
    ("name", "codec", "times"),
    [
        ("a.mp4", "libx264", None),
        ("b.mkv", "libx264", UNEVEN),
        ("c.mkv", "mpeg4", UNEVEN),
        ("d.ts", "libx264", None),
        ("e.avi", "mjpeg", None),
        ("f.avi", "mpeg4", None),
        ("g.h264", "libx264", None),
    ],
)
def test_parts_together_are_the_whole(tmp_path: Path, name: str, codec: str, times: list[int] | None) -> None:
    path = fakes.film(tmp_path / name, fakes.walk(60), times, codec=codec)
    found = inventory(path)
    assert len(found.pts) == 60
    assert found.timed == (not name.endswith(".h264"))
    if times is not None:
        steps = [(b - a) * Fraction(*found.time_base) * 1000 for a, b in pairwise(found.pts)]
        assert steps == [b - a for a, b in pairwise(times)], "timestamps are kept as they are"
    chosen = wanted(found, Every(frames=2))
    whole = list(Part(path, found.pts[0], tuple(chosen), found.timed))
    assert [pts for pts, _ in whole] == chosen == list(found.pts[::2])
    parts = ranges(found, chosen, 7)
    assert len(parts) >= (1 if not found.timed else 3)
    pieces = [frame for start, _, part in parts for frame in Part(path, start, tuple(part), found.timed)]
    assert [pts for pts, _ in pieces] == chosen
    for (_, a), (_, b) in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)
    # The square moves by 2 pixels a frame: the pictures are those of their timestamps.
    for number, (_, image) in zip(range(0, 60, 2), whole, strict=True):
        (columns,) = np.nonzero(image.pixels[50, :, 0].astype(int) > 140)
        assert abs(columns[0] - (4 + number * 2 % 110)) <= 2


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_clips_joined_byte_by_byte_are_searched_to_the_end(tmp_path: Path, codec: str) -> None:
    first = fakes.film(tmp_path / "a.ts", fakes.walk(50, fakes.RED), codec=codec)
    second = fakes.film(tmp_path / "b.ts", fakes.walk(50, fakes.BLUE), codec=codec)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    found = inventory(joined)
    assert found.restarted
    assert not found.timed
    assert len(found.pts) == 100
    assert found.seconds == pytest.approx(4.0, abs=0.1)
    frames = list(Part(joined, 0, tuple(wanted(found, Every(frames=1))), found.timed))
    assert len(frames) == 100
    for number, (_, image) in enumerate(frames):
        red, blue = (int(image.pixels[..., k].astype(int).max()) for k in (0, 2))
        assert (red > blue) == (number < 50)
    assert not inventory(first).restarted


def test_which_frames_are_wanted() -> None:
    found = Inventory((1, 1000), (0, 40, 90, 210, 390, 400, 1000), (0,), 1040, True, 25.0, 0.0)
    assert wanted(found, parse_every("0.2s")) == [0, 210, 400, 1000]
    assert wanted(found, parse_every("3")) == [0, 210, 1000]
    assert wanted(found, parse_every("1")) == list(found.pts)
    assert parse_every(".5s").seconds == Fraction(1, 2)
    for text in ("0", "0s", "-1", "2 s", "fast"):
        with pytest.raises(ConfigError, match="--every"):
            parse_every(text)


def test_a_gap_is_no_search() -> None:
    found = Inventory((1, 1000), (0, 40, 80, 5000, 5040), (0,), 5080, True, 25.0, 0.0)
    steps, gaps = covered(found)
    assert (steps, gaps) == ([40, 40, 40, 40, 40], [(80, 4920)])
    slow = Inventory((1, 1), (0, 10, 20, 30), (0,), 40, True, 0.1, 0.0)
    assert covered(slow) == ([10, 10, 10, 10], [])


def test_ranges_are_cut_at_key_frames_only() -> None:
    found = Inventory((1, 25), tuple(range(100)), (0, 30, 35, 60, 90), 100, True, 25.0, 4.0)
    parts = ranges(found, list(range(100)), 20)
    assert [(start, end) for start, end, _ in parts] == [(0, 30), (30, 60), (60, 90), (90, 101)]
    assert [pts for _, _, part in parts for pts in part] == list(range(100))
    assert [part for _, _, part in ranges(found, [3, 95], 1)] == [[3], [95]]


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DataError, match="no video in it"):
        inventory(path)


def test_large_frames_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fakes.film(tmp_path / "a.mp4", fakes.walk(2))
    monkeypatch.setattr(video, "MAX_PIXELS", 100)
    with pytest.raises(DataError, match="160 x 90 px, more than the 100 px allowed"):
        inventory(path)


def test_a_name_that_is_not_text_is_read(tmp_path: Path) -> None:
    path = fakes.film(tmp_path / "a.mp4", fakes.walk(3))
    odd = Path(str(tmp_path / "b") + "\udcff.mp4")
    path.rename(odd)
    assert len(inventory(odd).pts) == 3


def test_the_shared_videos(shared: Path) -> None:
    folder = shared / "data" / "videos"
    frames = {"corridor_pause": 41, "classroom": 45, "headpose_male": 62}
    for name, count in frames.items():
        found = inventory(folder / f"{name}.mp4")
        assert len(found.pts) == count
        assert found.damage == ""
