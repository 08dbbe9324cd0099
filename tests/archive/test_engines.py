"""The engines give the same rows as one process, also when a worker is killed in the middle of its work."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace

import pytest

from faceup.archive.job import run_batch
from faceup.archive.ledger import Ledger
from faceup.archive.ray_engine import RayOptions, _run, actors_for
from faceup.archive.settings import FaceSettings
from faceup.archive.units import Unit
from faceup.archive.worker import Outcome, Worker
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


def test_a_pool_that_breaks_before_a_unit_is_given_to_it_loses_none(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second pool takes everything; the first is found to be broken when it gets its third unit."""
    from faceup.archive import engines

    pools: list[object] = []

    class Pool:
        def __init__(self, *_: object) -> None:
            pools.append(self)
            engines._worker = engines.Worker(fakes.batch(site, []).faces)
            self.given = 0

        def submit(self, work: Callable[[Unit], Outcome], unit: Unit) -> Future[Outcome]:
            self.given += 1
            if len(pools) == 1 and self.given == 3:
                raise BrokenProcessPool
            future: Future[Outcome] = Future()
            future.set_result(work(unit))
            return future

        def shutdown(self, **_: object) -> None:
            pass

    monkeypatch.setattr(engines, "ProcessPoolExecutor", Pool)
    run_batch(fakes.batch(site, [site / "archive"], "pool", workers=2, threshold=0.9))
    assert len(pools) == 2
    assert results(site, "pool") == results(site, "here")


def test_an_actor_that_ray_kills_for_its_memory_is_replaced(site: Path) -> None:
    """With a Ray of a few lines: the real one does it only where memory is short."""

    class RayError(Exception):
        pass

    class OutOfMemoryError(RayError):
        pass

    nothing = {name: type(name, (RayError,), {}) for name in ("RayTaskError", "ActorUnschedulableError")}
    errors = {**nothing, "RuntimeEnvSetupError": type("RuntimeEnvSetupError", (RayError,), {}), "RayError": RayError}
    made: list[Worker] = []

    class Actor:
        def __init__(self, settings: FaceSettings) -> None:
            worker = Worker(settings)
            made.append(worker)
            self.process = SimpleNamespace(remote=lambda unit: (len(made), worker, unit))

    def get(reference: tuple[int, Worker, Unit]) -> Outcome:
        number, worker, unit = reference
        if number == 1:
            raise OutOfMemoryError
        return worker.process(unit)

    ray = SimpleNamespace(
        cluster_resources=lambda: {"CPU": 2.0}, exceptions=SimpleNamespace(**errors), get=get, kill=lambda _: None,
        remote=lambda **_: lambda _: SimpleNamespace(remote=Actor), wait=lambda waiting, num_returns: (waiting[:1], []),
    )  # fmt: skip
    run_batch(fakes.batch(site, [site / "archive"], "plan", threshold=0.9))
    units = list(Ledger(site / "plan").units())
    done = list(_run(ray, fakes.batch(site, []).faces, units, RayOptions()))
    assert len(made) == 2
    assert sorted(unit.key for unit, _ in done) == sorted(unit.key for unit in units)
    assert all(outcome.data is not None for _, outcome in done)


def test_the_processes_of_a_pool_end_when_their_parent_is_killed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACEUP_TEST_SLOW", "0.5")
    command = [sys.executable, "-m", "faceup", "batch", "--gallery", "gallery", "--archive", "archive", "--job", "pool"]
    command += ["--detector", "squares", "--recognizer", "squares", "--sr", "none", "--device", "cpu", "--workers", "2"]
    process = subprocess.Popen(command, cwd=site)
    try:
        until(lambda: list((site / "pool" / "shards").rglob("*.parquet")) or process.poll() is not None)
        children = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    finally:
        process.kill()
        process.wait()
    assert len(children) >= 2
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))


def until(true: Callable[[], object], seconds: float = 300) -> None:
    """Wait, however busy the machine is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


@pytest.mark.filterwarnings("ignore")  # of Ray's own
def test_ray_on_two_nodes_gives_the_same_though_a_worker_is_killed(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    flag = site / "die"
    flag.touch()
    monkeypatch.setenv("FACEUP_TEST_DIE", str(flag))
    memory = 80 * 2**20
    try:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": memory})
    except Exception as error:  # Ray raises nothing narrower
        if "timed out during startup" not in str(error):
            raise
        pytest.skip("this machine is too busy: Ray's head node did not start within Ray's own 30 seconds")
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
