"""Suppression in groups against a plain loop, and without torchvision's slow import."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torchvision.ops import batched_nms, box_iou

from faceup.runtime.nms import suppressed


@pytest.mark.parametrize(("count", "groups"), [(0, 1), (1, 1), (60, 3), (1500, 7)])
def test_keeps_what_a_plain_loop_keeps(count: int, groups: int) -> None:
    rng = np.random.default_rng(count)
    corner, size = rng.uniform(0, 100, (count, 2)), rng.uniform(5, 40, (count, 2))
    boxes = torch.from_numpy(np.hstack([corner, corner + size]).astype(np.float32))
    scores = torch.from_numpy(rng.permutation(count).astype(np.float32) / max(count, 1))
    group = torch.from_numpy(rng.integers(0, groups, count))
    kept: list[int] = []
    overlaps = box_iou(boxes.double(), boxes.double())
    for i in scores.argsort(descending=True).tolist():
        if all(group[i] != group[j] or overlaps[i, j] <= 0.5 for j in kept):
            kept.append(i)
    assert suppressed(boxes, scores, group, 0.5).tolist() == kept
    assert batched_nms(boxes.double(), scores.double(), group, 0.5).tolist() == kept


def test_torchvision_is_not_imported_by_a_search_for_faces() -> None:
    code = (
        "import sys, numpy as np; from faceup import registry; from faceup.types import Image;"
        "d = registry.build('detect', 'mtcnn', registry.Options());"
        "d.detect([Image(np.zeros((64, 64, 3), np.uint8))]); sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
