"""The benchmark of the recogniser at a tiny size: its systems give the same vectors, its record has the schema."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import bench_embedder as bench
from tests.benchmarks.schema import check_record


def test_the_record() -> None:
    before = torch.get_num_threads()
    found = bench.faces(None, 3)
    try:
        done = bench.measure(found, [1, 4], [1, 2], rounds=1, inputs="a test", arguments=[])
    finally:
        torch.set_num_threads(before)
    check_record(done)
    assert 1 <= len(found) <= 3
    assert [[row["batch"] for row in table["rows"]] for table in done["tables"]] == [[1, 4], [1, 4]]
    assert done["bars"][1]["met"] is True


def test_all_systems_give_the_same_vectors() -> None:
    found = bench.faces(None, 2)
    plain, folded, own = (embed(found) for embed in bench.systems().values())
    assert bench.off(folded, plain) < 1e-5
    assert bench.off(own, plain) < 1e-5


def test_the_change_of_a_cosine_sees_turned_vectors() -> None:
    plain = np.array([[1, 0], [0, 2]], np.float32)
    turned = plain @ np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]], np.float32)
    assert bench.off(plain, plain) == 0
    assert bench.off(turned, plain) == pytest.approx(np.sin(0.3), rel=1e-5)
