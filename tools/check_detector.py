"""Compare faceup's MTCNN with facenet-pytorch's `detect`, picture by picture.

    python tools/check_detector.py PHOTOS
    python tools/check_detector.py PROBES --enlarge 4

Every picture below the folders is searched by both, enlarged by bicubic interpolation if asked for, and reduced first
where its longer side exceeds the detector's limit. Printed are how many pictures and faces there were, in how many the
number of faces differs, and the largest differences of boxes, landmarks (pixels) and scores where it does not. It ends
with 1 where a number of faces differs or a point by more than 0.5 px.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from facenet_pytorch import MTCNN

from faceup.detect.mtcnn import MAX_SIDE, Mtcnn
from faceup.images import read_image, resize
from faceup.types import Detections, Image

LIMIT = 0.5


@dataclass(slots=True)
class Comparison:
    """What was found; `other_count` names the pictures whose numbers of faces differ."""

    pictures: int = 0
    faces: int = 0
    without: int = 0
    box: float = 0.0
    landmark: float = 0.0
    score: float = 0.0
    other_count: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether every decision is the same and no point is further off than the limit."""
        return not self.other_count and max(self.box, self.landmark) <= LIMIT

    def add(self, name: str, wanted: Detections, got: Detections) -> None:
        """Count one picture."""
        self.pictures += 1
        self.faces += len(wanted)
        self.without += len(wanted) == 0
        if len(wanted) != len(got):
            self.other_count.append(f"{name}: {len(wanted)} and {len(got)}")
        elif len(wanted):
            self.box = max(self.box, float(np.abs(wanted.boxes - got.boxes).max()))
            self.landmark = max(self.landmark, float(np.abs(wanted.landmarks - got.landmarks).max()))
            self.score = max(self.score, float(np.abs(wanted.scores - got.scores).max()))


def reference(detector: MTCNN, images: Sequence[Image]) -> list[Detections]:
    """Return what facenet-pytorch finds in pictures of one size."""
    found = detector.detect(np.stack([image.pixels for image in images]), landmarks=True)
    return [
        Detections.none()
        if boxes is None
        else Detections(*(np.asarray(v, np.float32) for v in (boxes, scores, points)))
        for boxes, scores, points in zip(*found, strict=True)
    ]


def prepared(paths: Iterable[Path], enlarge: int) -> Iterator[tuple[str, Image]]:
    """Return name and picture, enlarged, and at most as large as the detector searches it."""
    for path in paths:
        image = read_image(path)
        factor = min(float(enlarge), MAX_SIDE / max(image.width, image.height))
        if factor != 1:
            image = resize(image, round(image.width * factor), round(image.height * factor))
        yield f"{path.parent.name}/{path.name}", image


def compared(pictures: Iterable[tuple[str, Image]]) -> Comparison:
    """Search each picture with both and return how they differ."""
    ours, theirs, found = Mtcnn("cpu"), MTCNN(keep_all=True), Comparison()
    for name, image in pictures:
        [wanted], [got] = reference(theirs, [image]), ours.detect([image])
        found.add(name, wanted, got)
    return found


def main() -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--enlarge", type=int, default=1)
    parser.add_argument("--pattern", default="*.jpg")
    given = parser.parse_args()
    paths = [path for folder in given.folders for path in sorted(folder.rglob(given.pattern))]
    found = compared(prepared(paths, given.enlarge))
    print(
        f"{found.pictures} pictures, {found.faces} faces, {found.without} pictures without; number of faces differs in "
        f"{len(found.other_count)}; largest difference: box {found.box:.5f} px, landmark {found.landmark:.5f} px, "
        f"score {found.score:.7f}"
    )
    for line in found.other_count:
        print(f"  faces of facenet-pytorch and of faceup in {line}")
    return 0 if found.pictures and found.same else 1


if __name__ == "__main__":
    raise SystemExit(main())
