"""A job that is killed (SIGKILL) at random moments and started again ends with the bytes of one that was not."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.archive import fakes
from tests.conftest import ROOT

JOBS, KILLS_EACH = 5, 4


def _run(folder: str, job: str, resume: bool) -> None:
    from faceup.archive import sources, units
    from faceup.archive.job import run_batch

    units.CHUNK_MEAN, sources.PART_FRAMES = 6, 24  # many small units, so that a kill falls between and into them
    run_batch(fakes.batch(Path(folder), [Path(folder) / "archive"], job, resume=resume, threshold=0.9))


def _start(context: multiprocessing.context.ForkServerContext, *arguments: object):  # type: ignore[no-untyped-def]  # noqa: ANN202
    process = context.Process(target=_run, args=arguments)
    process.start()
    return process


def test_twenty_kills_change_nothing(fake: Path, tmp_path: Path) -> None:
    fakes.gallery(tmp_path / "gallery")
    fakes.archive(tmp_path / "archive", pictures=40)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.archive.test_kill", "faceup.archive.job", "pandas", "pyarrow.parquet", "av", "faiss"]
    )
    whole = []
    for job in ("first", "whole"):  # The first also starts the server, which is not the job's time.
        begun = time.monotonic()
        process = _start(context, str(tmp_path), job, False)
        process.join(120)
        assert process.exitcode == 0
        whole.append(time.monotonic() - begun)
    expected = fakes.content(tmp_path / "whole" / "results")
    shards = fakes.content(tmp_path / "whole" / "shards")
    assert expected == fakes.content(tmp_path / "first" / "results")
    assert len(shards) >= 12
    assert len(expected) > 30
    rng = random.Random(6)
    killed = unfinished = 0
    for number in range(JOBS):
        job = f"killed{number}"
        for kill in range(KILLS_EACH):
            process = _start(context, str(tmp_path), job, (tmp_path / job / "ledger.sqlite").exists())
            process.join(rng.uniform(0.02, 0.9) * whole[1] / (1 + kill * 0.5))
            if process.exitcode is None:
                os.kill(process.pid, signal.SIGKILL)
                process.join(60)
                # It may have ended by itself between the look and the kill.
                assert process.exitcode in (-signal.SIGKILL, 0)
                unfinished += not (tmp_path / job / "results").exists()
            killed += 1
        process = _start(context, str(tmp_path), job, (tmp_path / job / "ledger.sqlite").exists())
        process.join(120)
        assert process.exitcode == 0, f"{job} does not go on"
        assert fakes.content(tmp_path / job / "results") == expected
        assert fakes.content(tmp_path / job / "shards") == shards
        left = [path.name for path in (tmp_path / job).iterdir()]
        assert sorted(left) == ["job.json", "ledger.sqlite", "lock", "results", "shards"]
    assert killed == JOBS * KILLS_EACH == 20
    assert unfinished >= 5, "the kills came too late to say anything"


@pytest.mark.skipif(sys.platform == "win32", reason="needs fcntl")
def test_a_second_process_is_refused(fake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from faceup.archive.job import run_batch
    from faceup.errors import DataError

    fakes.gallery(tmp_path / "gallery")
    fakes.archive(tmp_path / "archive", pictures=30)
    monkeypatch.setenv("FACEUP_TEST_SLOW", "0.3")
    context = multiprocessing.get_context("spawn")
    process = _start(context, str(tmp_path), "job", False)  # type: ignore[arg-type]
    try:
        lock = tmp_path / "job" / "lock"
        for _ in range(3000):
            if lock.exists() and lock.read_text().strip():
                break
            time.sleep(0.1)
        with pytest.raises(DataError, match=rf"another process works on this job \(process {process.pid}\)"):
            run_batch(fakes.batch(tmp_path, [tmp_path / "archive"], resume=True))
    finally:
        process.kill()
        process.join()
    monkeypatch.setenv("FACEUP_TEST_SLOW", "0")
    totals = run_batch(fakes.batch(tmp_path, [tmp_path / "archive"], resume=True))
    assert totals.failed_units == 0


def test_ctrl_c_ends_with_130_and_the_job_goes_on(fake: Path, tmp_path: Path) -> None:
    fakes.gallery(tmp_path / "gallery")
    fakes.archive(tmp_path / "archive", pictures=30)
    command = [sys.executable, "-m", "faceup", "batch", "--gallery", "gallery", "--archive", "archive", "--job", "job"]
    command += ["--detector", "squares", "--recognizer", "squares", "--sr", "none", "--device", "cpu", "--every", "1"]
    paths = os.pathsep.join([str(ROOT), str(fake)])
    environment = {**os.environ, "PYTHONPATH": paths, "FACEUP_TEST_SLOW": "0.3"}
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # A test run in the background of a shell has SIGINT ignored, and its children would have it so too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for _ in range(6000):
        if list((tmp_path / "job" / "shards").rglob("*.parquet")) or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "interrupted; nothing half-written was left" in told
    assert not (tmp_path / "job" / "results").exists()
    environment["FACEUP_TEST_SLOW"] = "0"
    done = subprocess.run([*command, "--resume"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "inputs: 62 searched" in done.stdout
