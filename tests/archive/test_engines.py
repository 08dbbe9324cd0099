"""The engines give the same rows as one process, also when a worker is killed in the middle of its work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from faceup.archive.job import run_batch
from faceup.archive.ray_engine import RayOptions, actors_for
from faceup.errors import ConfigError
from faceup.gallery.enrol import Networks, enrol
from faceup.gallery.store import Gallery
from tests.archive import fakes
from tests.conftest import ROOT


@pytest.fixture
def site(fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An archive and a gallery, whose plug-in is found by other processes too; its results are in `here`."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(fake)]))
    fakes.archive(tmp_path / "archive", pictures=20)
    stages, model = Networks("squares", {}, "squares", {}, "cpu").build()
    Gallery.create(tmp_path / "gallery", model, enrol(fakes.gallery(tmp_path / "mugs"), stages).rows)
    run_batch(fakes.batch(tmp_path, [tmp_path / "archive"], "here", threshold=0.9))
    return tmp_path


def results(site: Path, job: str) -> dict[str, bytes]:
    return fakes.content(site / job / "results")


def test_a_pool_gives_the_same_though_a_worker_is_killed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = site / "die"
    flag.touch()
    monkeypatch.setenv("FACEUP_TEST_DIE", str(flag))
    totals = run_batch(fakes.batch(site, [site / "archive"], "pool", workers=2, threshold=0.9))
    assert not flag.exists(), "no worker was killed"
    assert totals.failed_units == 0
    assert results(site, "pool") == results(site, "here")


def test_a_unit_that_kills_its_worker_every_time_is_a_failure_and_not_the_end(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from faceup.archive import engines

    monkeypatch.setattr(engines, "STRIKES", 1)
    flag = site / "die"
    flag.touch()
    monkeypatch.setenv("FACEUP_TEST_DIE", str(flag))
    totals = run_batch(fakes.batch(site, [site / "archive"], "pool", workers=2, threshold=0.9))
    assert totals.failed_units >= 1
    text = (site / "pool" / "results" / "coverage.csv").read_text()
    assert "a worker died 1 times while it had this unit" in text
    totals = run_batch(fakes.batch(site, [site / "archive"], "pool", workers=2, threshold=0.9, resume=True))
    assert totals.failed_units == 0
    assert results(site, "pool") == results(site, "here")


@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_ray_on_two_nodes_gives_the_same_though_a_worker_is_killed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    flag = site / "die"
    flag.touch()
    monkeypatch.setenv("FACEUP_TEST_DIE", str(flag))
    memory = 80 * 2**20
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": memory})
    try:
        cluster.add_node(num_cpus=2, object_store_memory=memory)
        cluster.wait_for_nodes()
        options = RayOptions(cluster.address)
        totals = run_batch(fakes.batch(site, [site / "archive"], "ray", engine="ray", ray=options, threshold=0.9))
    finally:
        cluster.shutdown()
    assert not flag.exists(), "no worker was killed"
    assert totals.failed_units == 0
    assert results(site, "ray") == results(site, "here")
    assert fakes.content(site / "ray" / "shards") == fakes.content(site / "here" / "shards")


@pytest.mark.parametrize(
    ("cpus", "gpus", "options", "count"),
    [
        (2, 0, RayOptions(), 1),  # One is left for the driver and its reading.
        (1, 0, RayOptions(), 1),
        (16, 0, RayOptions(), 15),
        (16, 0, RayOptions(workers=4), 4),
        (16, 2, RayOptions(gpus=0.25), 8),
        (4, 2, RayOptions(gpus=0.25), 3),
        (16, 2, RayOptions(gpus=0.4), 4),
        (16, 3, RayOptions(gpus=2), 1),
    ],
)
def test_how_many_actors(cpus: float, gpus: float, options: RayOptions, count: int) -> None:
    assert actors_for(cpus, gpus, options) == count


def test_no_actor_fits() -> None:
    with pytest.raises(ConfigError, match="no worker fits"):
        actors_for(8, 0, RayOptions(gpus=1))
