"""Non-maximum suppression by torchvision's compiled operator, without importing torchvision.

Its package imports torch's compiler, which takes seconds and is of no use here.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_LIBRARIES = ("_C_stable.*", "_C.*")
# With more boxes than this in one call, the comparisons between pictures cost more than a call for each picture. A GPU
# makes them side by side, and waits for each call.
_TOGETHER = {"cpu": 1000, "cuda": 20_000}


@cache
def _operator() -> Callable[[Tensor, Tensor, float], Tensor]:
    spec = importlib.util.find_spec("torchvision")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    for pattern in _LIBRARIES:
        for library in sorted(folder.glob(pattern)):
            try:
                torch.ops.load_library(library)  # type: ignore[no-untyped-call]
                found: Any = torch.ops.torchvision.nms
                found(torch.zeros(1, 4), torch.zeros(1), 0.5)
            except (OSError, AttributeError, RuntimeError):
                continue
            return found
    # Another layout of the package: the slow way.
    from torchvision.ops import nms

    return nms


def suppressed(boxes: Tensor, scores: Tensor, group: Tensor, overlap: float) -> Tensor:
    """Return the indices of the boxes that no better one of their group overlaps by more than that, best first.

    Args:
        boxes: (K, 4), x0, y0, x1, y1.
        scores: (K,).
        group: (K,) int64, e.g. the picture; boxes of different groups do not meet.
        overlap: intersection over union.
    """
    if not len(boxes):
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    # In doubles, since each group's boxes are moved to a place of their own, far from the origin.
    boxes, scores = boxes.double(), scores.double()
    nms = _operator()
    if len(boxes) <= _TOGETHER[boxes.device.type]:
        return nms(boxes + (group * (boxes.max() + 1))[:, None], scores, overlap)
    kept = []
    for number in torch.unique(group).tolist():
        own = (group == number).nonzero()[:, 0]
        kept.append(own[nms(boxes[own], scores[own], overlap)])
    # Equal scores in the order in which they came.
    together = torch.cat(kept).sort().values
    return together[scores[together].sort(descending=True, stable=True).indices]
