"""Which face of several is compared."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from faceup.detect import chosen_face
from faceup.types import Detections, Image

BOX = st.tuples(*[st.integers(-20, 80)] * 4)


def found(boxes: list[tuple[int, int, int, int]]) -> Detections:
    n = len(boxes)
    made = np.array(boxes, np.float32).reshape(n, 4)
    return Detections(made, np.ones(n, np.float32), np.zeros((n, 5, 2), np.float32))


def naive(boxes: list[tuple[int, int, int, int]], width: int, height: int) -> list[float]:
    products = []
    for x0, y0, x1, y1 in boxes:
        area = max(x1 - x0, 0) * max(y1 - y0, 0)
        away = math.hypot((x0 + x1) / 2 - (width - 1) / 2, (y0 + y1) / 2 - (height - 1) / 2)
        products.append(area * max(1 - away / (math.hypot(width, height) / 2), 0))
    return products


def picture(width: int, height: int) -> Image:
    return Image(np.zeros((height, width, 3), np.uint8))


@settings(deadline=None)
@given(st.lists(BOX, max_size=6), st.integers(1, 70), st.integers(1, 70))
def test_it_is_the_greatest_product_of_area_and_centrality(
    boxes: list[tuple[int, int, int, int]], width: int, height: int
) -> None:
    products = naive(boxes, width, height)
    chosen = chosen_face(found(boxes), picture(width, height))
    if not boxes:
        assert chosen is None
    else:
        assert chosen is not None
        assert math.isclose(products[chosen], max(products), rel_tol=1e-9, abs_tol=1e-9)


def test_no_face() -> None:
    assert chosen_face(Detections.none(), picture(9, 9)) is None


def test_size_wins_over_place_unless_the_place_is_far_out() -> None:
    middle, larger_beside, larger_in_the_corner = (40, 40, 60, 60), (45, 40, 75, 70), (0, 0, 24, 24)
    assert chosen_face(found([middle, larger_beside]), picture(100, 100)) == 1
    assert chosen_face(found([middle, larger_in_the_corner]), picture(100, 100)) == 0


def test_the_earlier_face_wins_a_tie() -> None:
    left, right = (10, 40, 30, 60), (69, 40, 89, 60)
    assert chosen_face(found([left, right]), picture(100, 101)) == 0
    assert chosen_face(found([right, left]), picture(100, 101)) == 0


def test_faces_wholly_outside_are_all_worth_nothing_and_the_earlier_one_is_taken() -> None:
    large, small = (200, 200, 300, 300), (200, 200, 210, 210)
    assert chosen_face(found([large, small]), picture(10, 10)) == 0
    assert chosen_face(found([small, large]), picture(10, 10)) == 0
    assert chosen_face(found([large, small, (4, 4, 6, 6)]), picture(10, 10)) == 2
