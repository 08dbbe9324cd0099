"""The cascade of MTCNN (arXiv 1604.02878) over pictures of one size, with the constants of facenet-pytorch.

P-Net looks at every scale of the pictures, R-Net at what it proposes, O-Net at what is left; each stage works on the
windows of all pictures together. The steps are those of facenet-pytorch's `detect`, oddities included (boxes are cut
to whole pixels before a crop, and the last suppression measures overlap by the smaller box), since networks and
thresholds were tuned with them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from faceup.detect._area import AreaTable
from faceup.detect._area_cpu import CpuAreaTable
from faceup.networks.mtcnn import Network
from faceup.runtime.device import full_float32
from faceup.runtime.nms import suppressed
from faceup.types import Detections, Image

FACTOR = 0.709
THRESHOLDS = (0.6, 0.7, 0.7)
# Windows of one picture that overlap more are one: at one scale, among the scales, after R-Net, and after O-Net, there
# by the share of the smaller one.
SAME_SCALE, ALL_SCALES, REFINED, FINAL = 0.5, 0.7, 0.7, 0.7
# P-Net's window and its step.
WINDOW, STRIDE = 12, 2
# Pixels of pictures given to P-Net at once, and of crops made at once: what bounds the memory.
CHUNK = {"cpu": 2**14, "cuda": 2**21}
CROPS = {"cpu": 2**18, "cuda": 2**21}

Table = AreaTable | CpuAreaTable


@dataclass(frozen=True, slots=True)
class Windows:
    """Candidates of all pictures.

    Attributes:
        picture: (K,) int64, index of the picture.
        boxes: (K, 4) float32, x0, y0, x1, y1.
        scores: (K,) float32.
    """

    picture: Tensor
    boxes: Tensor
    scores: Tensor

    def __getitem__(self, chosen: Tensor) -> Windows:
        return Windows(self.picture[chosen], self.boxes[chosen], self.scores[chosen])


class Cascade:
    """Finds the faces of pictures of one size.

    Args:
        proposal: P-Net; what the networks take and give stands in `faceup.networks.mtcnn`.
        refine: R-Net.
        output: O-Net.
        min_face_size: width in pixels of the smallest face to look for.
        device: where the networks run.
    """

    def __init__(
        self, proposal: Network, refine: Network, output: Network, min_face_size: int, device: torch.device
    ) -> None:
        self.proposal, self.refine, self.output = proposal, refine, output
        self.min_face_size, self.device = min_face_size, device
        self.chunk, self.crops = CHUNK[device.type], CROPS[device.type]

    def scales(self, height: int, width: int) -> list[float]:
        """Return the scales of the pyramid; none for a picture smaller than the smallest face."""
        scale = WINDOW / self.min_face_size
        shorter, found = min(height, width) * scale, []
        while shorter >= WINDOW:
            found.append(scale)
            scale, shorter = scale * FACTOR, shorter * FACTOR
        return found

    def detect(self, images: Sequence[Image]) -> list[Detections]:
        """Return the faces of each picture, the largest first.

        Args:
            images: pictures of one size.
        """
        scales = self.scales(images[0].height, images[0].width) if images else []
        if not scales:
            return [Detections.none() for _ in images]
        # The setting is the process's own, which threads on a CPU side by side would take from each other.
        with torch.inference_mode(), full_float32() if self.device.type == "cuda" else nullcontext():
            table = CpuAreaTable(images) if self.device.type == "cpu" else AreaTable(images, self.device)
            return _by_picture(len(images), *self._output(table, self._refined(table, self._proposed(table, scales))))

    def _proposed(self, table: Table, scales: Sequence[float]) -> Windows:
        found, corrections = [], []
        for scale in scales:
            windows, edges = self._at_scale(table, scale)
            kept = _suppressed(windows, SAME_SCALE)
            found.append(windows[kept])
            corrections.append(edges[kept])
        windows, edges = _joined(found), torch.cat(corrections)
        kept = _suppressed(windows, ALL_SCALES)
        windows, edges = windows[kept], edges[kept]
        return Windows(windows.picture, _square(_moved(windows.boxes, edges, 0)), windows.scores)

    def _at_scale(self, table: Table, scale: float) -> tuple[Windows, Tensor]:
        height, width = int(table.height * scale + 1), int(table.width * scale + 1)
        step = max(1, self.chunk // (height * width))
        portions = [(start, min(start + step, table.count)) for start in range(0, table.count, step)]
        found = torch.cat([self.proposal(table.reduced(*portion, height, width)) for portion in portions])
        # Few places are left to compute a score of.
        place = (found[:, 0] >= math.log(THRESHOLDS[0] / (1 - THRESHOLDS[0]))).nonzero()
        which, row, column = place.unbind(1)
        corner = place[:, 1:].flip(1).float() * STRIDE
        boxes = torch.cat([((corner + 1) / scale).floor(), ((corner + WINDOW) / scale).floor()], dim=1)
        chosen = found[which, :, row, column]
        return Windows(which, boxes, torch.sigmoid(chosen[:, 0])), chosen[:, 1:]

    def _refined(self, table: Table, windows: Windows) -> Windows:
        windows, crops = _crops(table, windows)
        found = self._in_chunks(self.refine, table, windows.picture, crops, 24)
        scores, edges = torch.sigmoid(found[:, 0]), found[:, 1:]
        good = scores > THRESHOLDS[1]
        windows, edges = Windows(windows.picture[good], windows.boxes[good], scores[good]), edges[good]
        kept = _suppressed(windows, REFINED)
        windows, edges = windows[kept], edges[kept]
        return Windows(windows.picture, _square(_moved(windows.boxes, edges, 1)), windows.scores)

    def _output(self, table: Table, windows: Windows) -> tuple[Windows, Tensor]:
        windows, crops = _crops(table, windows)
        found = self._in_chunks(self.output, table, windows.picture, crops, 48)
        scores = torch.sigmoid(found[:, 0])
        good = scores > THRESHOLDS[2]
        boxes, edges = windows.boxes[good], found[good, 1:5]
        shares = found[good, 5:].reshape(-1, 2, 5).transpose(1, 2)
        corner, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2] + 1
        points = size[:, None] * shares + corner[:, None] - 1
        return Windows(windows.picture[good], _moved(boxes, edges, 1), scores[good]), points

    def _in_chunks(self, net: Network, table: Table, picture: Tensor, boxes: Tensor, side: int) -> Tensor:
        step = max(1, self.crops // side**2)
        # At least one portion, so that no crops give no rows of the right length.
        portions = [slice(start, start + step) for start in range(0, max(len(boxes), 1), step)]
        return torch.cat([net(table.crops(picture[some], boxes[some], side)) for some in portions])


def _joined(parts: Sequence[Windows]) -> Windows:
    return Windows(
        torch.cat([part.picture for part in parts]),
        torch.cat([part.boxes for part in parts]),
        torch.cat([part.scores for part in parts]),
    )


def _suppressed(windows: Windows, overlap: float) -> Tensor:
    """Return the indices of the windows that no better one of their picture overlaps by more than that, best first."""
    return suppressed(windows.boxes, windows.scores, windows.picture, overlap)


def _moved(boxes: Tensor, edges: Tensor, inclusive: int) -> Tensor:
    """Return the boxes with their edges moved by shares of the box's size; a size is `x1 - x0 + inclusive`."""
    size = boxes[:, 2:] - boxes[:, :2] + inclusive
    return boxes + edges * torch.cat([size, size], dim=1)


def _square(boxes: Tensor) -> Tensor:
    """Return squares about the same centres with the longer sides."""
    size = boxes[:, 2:] - boxes[:, :2]
    side = size.amax(dim=1, keepdim=True)
    corner = boxes[:, :2] + size * 0.5 - side * 0.5
    return torch.cat([corner, corner + side], dim=1)


def _crops(table: Table, windows: Windows) -> tuple[Windows, Tensor]:
    """Return the windows of which something lies inside their picture, and that part in whole pixels."""
    whole = windows.boxes.trunc().long()
    # Boxes count pixels from 1 and include the last.
    start = whole[:, :2].clamp(min=1) - 1
    end = torch.minimum(whole[:, 2:], torch.tensor([table.width, table.height], device=whole.device))
    inside = (end > start).all(dim=1)
    # Picture by picture, as `_by_picture` wants them; best first within each, as they came.
    chosen = inside.nonzero()[:, 0]
    chosen = chosen[windows.picture[chosen].sort(stable=True).indices]
    return windows[chosen], torch.cat([start, end], dim=1)[chosen]


def _by_picture(count: int, windows: Windows, points: Tensor) -> list[Detections]:
    picture, boxes, scores, points_ = (
        value.cpu().numpy() for value in (windows.picture, windows.boxes, windows.scores, points)
    )
    kept = _suppressed_by_the_smaller(picture, boxes, scores)
    found = []
    for some in _parts(picture[kept], count):
        x0, y0, x1, y1 = boxes[kept[some]].T
        largest_first = kept[some][np.argsort((x1 - x0) * (y1 - y0))[::-1]]
        found.append(Detections(boxes[largest_first], scores[largest_first], points_[largest_first]))
    return found


def _parts(picture: npt.NDArray[np.int64], count: int) -> list[slice]:
    """Return where each picture's entries lie in an array that is sorted by picture."""
    ends = np.searchsorted(picture, np.arange(count), side="right").tolist()
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _suppressed_by_the_smaller(
    picture: npt.NDArray[np.int64], boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32]
) -> npt.NDArray[np.intp]:
    """Return the indices of the boxes that no better one overlaps by more than the share `FINAL` of the smaller one.

    `picture` is sorted, and so are the results, best first within each picture. Each round takes the best box that is
    left of every picture.
    """
    # Scores of 0.99999 are often equal, and which of the equal is taken is up to numpy's sort. facenet-pytorch sorts so
    # too, and sorting each picture alone gives what it finds in the picture alone.
    left = np.arange(len(scores))
    for some in _parts(picture, int(picture[-1]) + 1 if len(picture) else 0):
        left[some] = left[some][np.argsort(scores[some])[::-1]]
    kept = [left[:0]]
    while len(left):
        first = np.flatnonzero(np.diff(picture[left], prepend=-1))
        best = np.repeat(left[first], np.diff(first, append=len(left)))
        kept.append(left[first])
        left = left[(_share_of_the_smaller(boxes[best], boxes[left]) <= FINAL) & (left != best)]
    chosen = np.concatenate(kept)
    return chosen[np.argsort(picture[chosen], kind="stable")]


def _share_of_the_smaller(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    size = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]) + 1
    smaller = np.minimum(*(np.prod(box[:, 2:] - box[:, :2] + 1, axis=1) for box in (a, b)))
    share: npt.NDArray[np.float32] = np.prod(np.maximum(size, 0), axis=1) / smaller
    return share
