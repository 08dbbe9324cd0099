"""The benchmark of the SR engines at a tiny size: its systems give one picture, its record has the schema."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks import bench_sr_engine as bench
from faceup.networks.sisn import SisnConfig
from faceup.runtime.engine import has_native
from tests.benchmarks.schema import check_record

TINY = SisnConfig(groups=1, blocks=1, channels=16, radix=2)


@pytest.mark.parametrize("change", [{}, {"head": "direct"}, {"skip": "bicubic", "unit": 64.0}, {"structure": "isa"}])
def test_the_official_structure_is_the_same_mapping(change: dict[str, object]) -> None:
    net = bench.random_net(replace(TINY, **change))  # type: ignore[arg-type]
    x = torch.rand(2, 3, 7, 6) * 255
    with torch.inference_mode():
        torch.testing.assert_close(bench.OfficialStructure(net)(x), net(x), rtol=0, atol=1e-3)


def test_the_record() -> None:
    before = torch.get_num_threads()
    try:
        done = bench.measure({"tiny": bench.random_net(TINY)}, [1], [1, 2], rounds=1, arguments=[])
    finally:
        torch.set_num_threads(before)
    check_record(done)
    (table,) = done["tables"]
    names = {row["system"] for row in table["rows"]}
    quickest = [bench.NATIVE] if has_native() else []
    assert names == {bench.OFFICIAL, bench.FLOOR, "faceup, engine torch", bench.NCNN, "ONNX Runtime", *quickest}
    assert all((quickest or [bench.NCNN])[0] in bar["text"] for bar in done["bars"][::2])
    assert all(row["off"] <= 1 for row in table["rows"] if row["system"] != bench.FLOOR)
    assert [row["times"] for row in table["rows"] if row["system"] == bench.OFFICIAL] == [1, 1]
