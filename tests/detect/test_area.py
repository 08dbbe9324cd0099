"""Area resampling by summed-area tables, against torch's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from faceup.detect import _area, _area_cpu
from faceup.detect._area import AreaTable
from faceup.detect._area_cpu import CpuAreaTable
from faceup.types import Image
from tests.helpers import noise

Make = Callable[[Sequence[Image]], AreaTable | CpuAreaTable]
KINDS: list[Make] = [
    lambda images: AreaTable(images, torch.device("cpu")),
    CpuAreaTable,
]
KIND = pytest.mark.parametrize("make", KINDS, ids=["any device", "cpu"])


def planes(image: Image) -> torch.Tensor:
    return torch.from_numpy(image.pixels).permute(2, 0, 1)[None].double()


@KIND
@settings(max_examples=60)
@given(
    width=st.integers(1, 70), height=st.integers(1, 70), columns=st.integers(1, 40), rows=st.integers(1, 40),
    count=st.integers(1, 3),
)  # fmt: skip
def test_whole_pictures(make: Make, width: int, height: int, columns: int, rows: int, count: int) -> None:
    images = [noise(width, height, seed) for seed in range(count)]
    table = make(images)
    wanted = torch.cat([F.interpolate(planes(image), size=(rows, columns), mode="area") for image in images])
    got = table.reduced(0, count, rows, columns)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), wanted, rtol=0, atol=1e-4)
    torch.testing.assert_close(table.reduced(count - 1, count, rows, columns), got[-1:], rtol=0, atol=0)


@KIND
@settings(max_examples=60)
@given(data=st.data())
def test_crops(make: Make, data: st.DataObject) -> None:
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
    got = make(images).crops(torch.tensor(picture), torch.tensor(boxes), side)
    torch.testing.assert_close(got.double(), torch.cat(wanted), rtol=0, atol=1e-4)


@KIND
def test_sums_beyond_31_bits_are_right(make: Make) -> None:
    # 3000 x 3000 white pixels sum up to more than 2**31.
    white = Image(np.full((3000, 3000, 3), 255, np.uint8))
    table = make([white])
    assert white.pixels[..., 0].size > _area._MOST_PIXELS
    assert table.reduced(0, 1, 24, 24).unique().tolist() == [255.0]
    assert table.crops(torch.tensor([0]), torch.tensor([[2900, 2900, 3000, 3000]]), 24).unique().tolist() == [255.0]


@pytest.mark.parametrize("side", [16, 17, 40])
def test_bins_that_just_fit_into_16_bits_and_larger_ones_are_right(side: int) -> None:
    white = Image(np.full((6 * side, 6 * side, 3), 255, np.uint8))
    table = CpuAreaTable([white, white])
    bins = np.array([side])
    assert (table._sums(bins, bins) is table._small) == (side == 16)
    whole = torch.tensor([[0, 0, 6 * side, 6 * side]] * 2)
    for got in (table.reduced(0, 2, 6, 6), table.crops(torch.tensor([0, 1]), whole, 6)):
        torch.testing.assert_close(got, torch.full((2, 3, 6, 6), 255.0), rtol=0, atol=1e-4)


@KIND
def test_no_crops(make: Make) -> None:
    none = torch.zeros((0, 4), dtype=torch.int64)
    assert make([noise(5, 4)]).crops(none[:, 0], none, 24).shape == (0, 3, 24, 24)


def test_crops_of_all_widths_made_in_portions_are_those_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [noise(300, 90, seed) for seed in range(3)]
    rng = np.random.default_rng(0)
    x0, y0 = rng.integers(0, 290, 40), rng.integers(0, 80, 40)
    boxes = np.stack([x0, y0, rng.integers(x0 + 1, 301), rng.integers(y0 + 1, 91)], axis=1)
    chosen = torch.from_numpy(rng.integers(0, 3, 40)), torch.from_numpy(boxes), 24
    wanted = AreaTable(images, torch.device("cpu")).crops(*chosen)
    table = CpuAreaTable(images)
    for at_once in (1, 100_000, 10**8):
        monkeypatch.setattr(_area_cpu, "_AT_ONCE", at_once)
        assert torch.equal(table.crops(*chosen), wanted)
