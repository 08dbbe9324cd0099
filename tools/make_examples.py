"""Rebuild the pictures of examples/ from the packages that they come from, byte for byte.

    pip download --no-deps --no-binary :all: face-recognition==1.3.0
    pip download --no-deps matplotlib==3.10.3
    pip install scikit-image==0.26.0
    python tools/make_examples.py face_recognition-1.3.0.tar.gz matplotlib-3.10.3-*.whl examples

Any wheel of matplotlib 3.10.3 will do: what counts is the picture in it. Every input is checked against its SHA-256
before use and every result against the table in SOURCES.md after it. The bytes of the results also depend on the
versions of Pillow (JPEG, resizing), OpenCV (blur) and numpy (noise); examples/SOURCES.md names those that made them.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import skimage
from PIL import Image as PilImage

from faceup.errors import DataError
from faceup.files import sha256_hex, whole_or_not_at_all
from faceup.images import decode
from faceup.simulate import simulate

LONGER_SIDE = 512
QUALITY = 92
DISTANCES = ("d1", "paper")
SEED = 0


@dataclass(frozen=True, slots=True)
class Source:
    """One original.

    Attributes:
        package: `face-recognition`, `matplotlib` or `scikit-image`.
        member: the file in it.
        sha256: of that file.
        portrait: name of the gallery picture made from it; empty when none is.
        window: left, top, right, bottom of the part of it that the gallery shows, in pixels; None: all of it.
        probe: name given to the original as input of the simulator; empty when no probe is made from it.
    """

    package: str
    member: str
    sha256: str
    portrait: str = ""
    window: tuple[int, int, int, int] | None = None
    probe: str = ""


_FACES = "face_recognition-1.3.0/tests/test_images"
SOURCES = (
    Source(
        "face-recognition",
        f"{_FACES}/obama.jpg",
        "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6",
        portrait="obama",
        window=(140, 0, 840, 875),
    ),
    Source(
        "face-recognition",
        f"{_FACES}/obama2.jpg",
        "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6",
        probe="obama_2.jpg",
    ),
    Source(
        "face-recognition",
        f"{_FACES}/obama3.jpg",
        "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3",
        probe="obama_3.jpg",
    ),
    Source(
        "face-recognition",
        f"{_FACES}/biden.jpg",
        "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c",
        portrait="biden",
        window=(156, 0, 956, 1000),
        probe="biden_1.jpg",
    ),
    Source(
        "scikit-image",
        "data/astronaut.png",
        "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        portrait="collins",
        probe="collins_1.png",
    ),
    Source(
        "matplotlib",
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "a8ca6d734765703b09728ab47fe59f473d93ae3967fc24c7c0288c3c7adb7130",
        portrait="hopper",
        probe="hopper_1.jpg",
    ),
)


def read_source(source: Source, sdist: Path, wheel: Path) -> bytes:
    """Return the bytes of an original out of its package.

    Raises:
        DataError: the package does not hold it, or it is another file than the one expected.
    """
    try:
        if source.package == "face-recognition":
            with tarfile.open(sdist) as archive:
                stream = archive.extractfile(source.member)
                data = stream.read() if stream else b""
        elif source.package == "matplotlib":
            with zipfile.ZipFile(wheel) as packed:
                data = packed.read(source.member)
        else:
            data = (Path(skimage.__file__).parent / source.member).read_bytes()
    except (KeyError, OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(f"{source.package}: {source.member} cannot be read ({error}).") from error
    if sha256_hex(data) != source.sha256:
        raise DataError(
            f"{source.package}: {source.member} has SHA-256 {sha256_hex(data)}, expected {source.sha256}; "
            "take the versions that the head of this script names."
        )
    return data


def portrait(data: bytes, source: Source) -> bytes:
    """Return the gallery picture: cut to the window, at most 512 px, JPEG 92 with full chroma, no metadata."""
    picture = PilImage.fromarray(decode(data, source.member).pixels)
    if source.window is not None:
        picture = picture.crop(source.window)
    picture.thumbnail((LONGER_SIDE, LONGER_SIDE), PilImage.Resampling.LANCZOS, reducing_gap=None)
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=QUALITY, subsampling="4:4:4")
    return buffer.getvalue()


def make(sdist: Path, wheel: Path, out: Path) -> list[Path]:
    """Write gallery, probes and simulation.csv below `out` and return the pictures' paths."""
    written = []
    with tempfile.TemporaryDirectory() as scratch:
        originals = Path(scratch) / "originals"
        originals.mkdir()
        for source in SOURCES:
            data = read_source(source, sdist, wheel)
            if source.portrait:
                path = out / "gallery" / f"{source.portrait}_frontal.jpg"
                written.append(_write(path, portrait(data, source)))
            if source.probe:
                (originals / source.probe).write_bytes(data)
        summary = simulate(originals, Path(scratch) / "probes", distances=DISTANCES, seed=SEED)
        for row in summary.rows:
            if row.status != "ok":
                raise DataError(f"{row.source}: no probe at {row.distance}: {row.status} {row.message}")
            written.append(_write(out / "probes" / row.output, (summary.out / row.output).read_bytes()))
        _write(out / "simulation.csv", (summary.out / "simulation.csv").read_bytes())
    return written


def _write(path: Path, data: bytes) -> Path:
    with whole_or_not_at_all(path) as temporary:
        temporary.write_bytes(data)
    return path


def differences(pictures: list[Path], out: Path) -> list[str]:
    """Return what does not agree with the table of file names and hashes in SOURCES.md."""
    text = (out / "SOURCES.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `((?:gallery|probes)/[^`]+)` \|.*\| `([0-9a-f]{64})` \|$", text, re.MULTILINE))
    made = {path.relative_to(out).as_posix(): sha256_hex(path.read_bytes()) for path in pictures}
    problems = [
        f"{name}: {made[name]}, SOURCES.md has {listed.get(name)}" for name in made if made[name] != listed.get(name)
    ]
    return problems + [f"{name}: in SOURCES.md, but not made" for name in listed.keys() - made.keys()]


def main() -> int:
    """Run from the command line; exit code 1 when a result differs from SOURCES.md."""
    parser = argparse.ArgumentParser(description="Rebuild the pictures of examples/.")
    parser.add_argument("sdist", type=Path, help="face_recognition-1.3.0.tar.gz")
    parser.add_argument("wheel", type=Path, help="a wheel of matplotlib 3.10.3")
    parser.add_argument("out", type=Path, help="the examples folder, with SOURCES.md in it")
    arguments = parser.parse_args()
    problems = differences(make(arguments.sdist, arguments.wheel, arguments.out), arguments.out)
    print("\n".join(problems) or "All pictures are as SOURCES.md has them.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
