"""The benchmark of a GPU at a tiny size on the CPU: every part runs, what fails does not stop the rest."""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import bench_cuda as bench
from benchmarks.bench_embedder import MOST_OFF
from benchmarks.bench_sr_engine import random_net
from faceup.networks.sisn import Sisn, SisnConfig
from faceup.types import Detections, Image
from tests.benchmarks.schema import check_record

TINY = SisnConfig(groups=1, blocks=1, channels=8, radix=2)
PLAN = bench.Plan("cpu", rounds=1, sr=(1, 2), detect=(1, 2), embed=(1, 3))


@pytest.fixture(autouse=True)
def _few_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "FACES_A_CALL", 2)


def tiny() -> Sisn:
    return random_net(TINY)


def rows(done: dict[str, Any], number: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = done["tables"][number]["rows"]
    return found


def test_the_record() -> None:
    parts: list[int] = []
    done = bench.measure({"tiny": tiny}, PLAN, written=lambda told: parts.append(len(told["tables"])), arguments=[])
    check_record(done)
    assert parts == [1, 2, 3]
    assert [row["system"] for row in rows(done, 0)] == 2 * [bench.OFFICIAL, bench.EAGER, bench.GRAPHS, bench.FLOOR]
    assert all(row["off"] <= 1 for row in rows(done, 0) if row["system"] != bench.FLOOR)
    assert [row["apart"] for row in rows(done, 1)] == ["0/1", "0/2"]
    assert [row["cpu"] for row in rows(done, 1)] == ["0/1", "0/2"]
    assert all(row["off"] < MOST_OFF for row in rows(done, 2))
    assert [row["note"] for number in range(3) for row in rows(done, number)] == [None] * 12
    # Crops in batches of 32 are not among these, so the detector's bar has no figure.
    assert [bar["met"] is None for bar in done["bars"]] == [False, False, True, False]


def test_what_fails_says_so_and_the_rest_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Sisn:
        raise RuntimeError("CUDA error: no kernel image\nis available")

    def missing(device: str) -> None:
        raise ModuleNotFoundError("No module named 'facenet_pytorch'")

    monkeypatch.setattr(bench, "load_peer", missing)
    official = bench.official
    monkeypatch.setattr(
        bench, "official", lambda net, device: broken() if net.config == TINY else official(net, device)
    )
    monkeypatch.setattr(bench, "faces", lambda *_: broken())
    done = bench.measure({"tiny": tiny}, bench.Plan("cpu", 1, sr=(1,), detect=(1,), embed=(1,)), arguments=[])
    check_record(done)
    assert [row["note"] for row in rows(done, 0)] == ["failed: RuntimeError: CUDA error: no kernel image"]
    without, own = rows(done, 1)
    assert without["note"].startswith("failed: ModuleNotFoundError")
    assert (own["peer"], own["note"], own["cpu"]) == (None, None, "0/1")
    assert rows(done, 2) == [{"note": "failed: RuntimeError: CUDA error: no kernel image"}]
    assert [bar["met"] for bar in done["bars"]] == [None, None]


def test_the_largest_difference() -> None:
    black, other = np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2, 3), np.uint8)
    other[1, 0, 2] = 200
    assert bench.most_off([Image(black)] * 2, [Image(black), Image(other)]) == 200


def test_faces_that_differ() -> None:
    def one(x: float) -> Detections:
        box, points = np.array([[x, 0, 9, 9]], np.float32), np.zeros((1, 5, 2), np.float32)
        return Detections(box, np.ones(1, np.float32), points)

    none = Detections.none()
    assert bench.differing([one(0), none, one(0), none], [one(0.4), none, one(0.6), one(0)]) == "2/4"


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["bench_cuda"])
    with pytest.raises(SystemExit, match="torch finds none here"):
        bench.main()


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(bench, "networks", lambda *, quick: {"tiny": tiny})
    monkeypatch.setattr(bench, "Plan", lambda *_, **__: PLAN)
    file = tmp_path / "deep" / "cuda.json"
    monkeypatch.setattr(sys, "argv", ["bench_cuda", "--quick", "--device", "cpu", "--json", str(file)])
    try:
        bench.main()
    finally:
        torch.set_num_threads(before)
        gc.unfreeze()
    check_record(json.loads(file.read_text(encoding="utf-8")))
    assert "times the official structure" in capsys.readouterr().out
