"""The benchmark of SISN in 8 bits at a tiny size: its record has the schema, its bars their figures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks import bench_sr_int8 as bench
from benchmarks.bench_sr_engine import random_net, shipped_net
from faceup.images import at_most, read_image
from faceup.networks.sisn import SisnConfig
from faceup.runtime.engine import has_native
from faceup.weights.int8 import shipped_ranges
from tests.benchmarks.schema import check_record
from tests.helpers import noise

TINY = SisnConfig(groups=1, blocks=1, channels=16, radix=2)


def test_the_record() -> None:
    before = torch.get_num_threads()
    try:
        done = bench.measure({"tiny": (random_net(TINY), None)}, [(1, 1), (1, 2)], [], rounds=1, arguments=[])
    finally:
        torch.set_num_threads(before)
    check_record(done)
    (table,) = done["tables"]
    native = [bench.NATIVE] if has_native() else []
    systems = [bench.OFFICIAL, bench.NCNN, *native, bench.FLOAT, bench.EIGHT]
    assert [row["system"] for row in table["rows"]] == systems * 2
    count = len(systems)
    assert all(max(row["times"] for row in table["rows"][k : k + count - 1]) == 1 for k in (0, count))
    assert all(row["official"] == 1 for row in table["rows"][::count])
    assert [bar["value"] for bar in done["bars"]] == [None, None]


def test_the_cost() -> None:
    """Two faces are compared with themselves; where no face is found there is no similarity."""
    net = shipped_net()
    made = bench.systems(net, shipped_ranges("sisn-x4"))
    folder = bench.method.ROOT / "examples" / "gallery"
    faces = [at_most(read_image(folder / f"{name}_frontal.jpg"), 192) for name in ("obama", "hopper")]
    rows, loss, largest = bench.cost([*faces, noise(64, 64)], made, 4)
    assert [row["found"] for row in rows] == ["2/3", "2/3", None, None]
    changes = [rows[1]["psnr"] - rows[0]["psnr"], rows[1]["cosine"] - rows[0]["cosine"]]  # type: ignore[operator]
    assert (rows[2]["psnr"], rows[2]["cosine"]) == pytest.approx(changes, abs=1e-6)
    assert loss == pytest.approx(-changes[0])
    assert 0 < abs(changes[1]) <= largest < 0.05
    assert np.isfinite(loss)
