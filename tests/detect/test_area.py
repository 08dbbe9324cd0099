"""Area resampling by summed-area tables, against torch's own."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from faceup.detect import _area
from faceup.detect._area import AreaTable
from faceup.types import Image
from tests.helpers import noise

CPU = torch.device("cpu")


def planes(image: Image) -> torch.Tensor:
    return torch.from_numpy(image.pixels).permute(2, 0, 1)[None].double()


@settings(max_examples=60)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(1, 40), st.integers(1, 3))
def test_whole_pictures(width: int, height: int, columns: int, rows: int, count: int) -> None:
    images = [noise(width, height, seed) for seed in range(count)]
    table = AreaTable(images, CPU)
    wanted = torch.cat([F.interpolate(planes(image), size=(rows, columns), mode="area") for image in images])
    got = table.reduced(0, count, rows, columns)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), wanted, rtol=0, atol=1e-4)
    torch.testing.assert_close(table.reduced(count - 1, count, rows, columns), got[-1:], rtol=0, atol=0)


@settings(max_examples=60)
@given(st.data())
def test_crops(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 60))
    images = [noise(width, height, seed) for seed in range(3)]
    picture, boxes, wanted = [], [], []
    side = data.draw(st.sampled_from([1, 7, 24, 48]))
    for _ in range(data.draw(st.integers(1, 4))):
        x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
        picture.append(data.draw(st.integers(0, 2)))
        boxes.append([x0, y0, x1, y1])
        crop = planes(images[picture[-1]])[:, :, y0:y1, x0:x1]
        wanted.append(F.interpolate(crop, size=(side, side), mode="area"))
    got = AreaTable(images, CPU).crops(torch.tensor(picture), torch.tensor(boxes), side)
    torch.testing.assert_close(got.double(), torch.cat(wanted), rtol=0, atol=1e-4)


def test_sums_beyond_31_bits_are_right() -> None:
    # 3000 x 3000 white pixels sum up to more than 2**31.
    white = Image(np.full((3000, 3000, 3), 255, np.uint8))
    table = AreaTable([white], CPU)
    assert white.pixels[..., 0].size > _area._MOST_PIXELS
    assert table.reduced(0, 1, 24, 24).unique().tolist() == [255.0]
    assert table.crops(torch.tensor([0]), torch.tensor([[2900, 2900, 3000, 3000]]), 24).unique().tolist() == [255.0]


def test_no_crops() -> None:
    none = torch.zeros((0, 4), dtype=torch.int64)
    assert AreaTable([noise(5, 4)], CPU).crops(none[:, 0], none, 24).shape == (0, 3, 24, 24)
