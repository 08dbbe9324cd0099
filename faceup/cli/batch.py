"""`faceup batch`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from faceup import defaults
from faceup.files import shown
from faceup.runtime.device import DEVICES

if TYPE_CHECKING:
    from faceup.pipeline import Progress

LINE_EVERY_S = 30.0


@click.command("batch")
@click.option(
    "--gallery",
    required=True,
    metavar="DIR|CSV|YAML",
    type=click.Path(path_type=Path),
    help="A gallery (`faceup gallery build`), or pictures of known people as for `faceup run`.",
)
@click.option(
    "--archive",
    "archives",
    multiple=True,
    required=True,
    metavar="PATH...",
    type=click.Path(path_type=Path),
    help="Folders of videos, frames and crops, single files, or CSV manifests (path, camera, start).",
)
@click.argument("more", nargs=-1, metavar="", type=click.Path(path_type=Path))
@click.option("--job", required=True, type=click.Path(path_type=Path), help="Folder of the job.")
@click.option("--resume", is_flag=True, help="Go on with a job that exists; what is done stays done.")
@click.option(
    "--sr",
    default=defaults.ARCHIVE_SR,
    show_default=True,
    metavar="NAME[:FILE]",
    help="For small faces; none for none.",
)
@click.option("--scale", type=click.IntRange(1), default=4, show_default=True, help="How many times SR enlarges.")
@click.option("--small-eyes", type=click.FloatRange(0), default=40.0, show_default=True, help="SR below so many px.")
@click.option("--detector", default="mtcnn", show_default=True, metavar="NAME")
@click.option("--min-face-size", type=click.IntRange(12), help="Smallest face searched, in pixels [20].")
@click.option("--max-side", type=click.IntRange(48), help="Search larger pictures at this size [1024].")
@click.option("--recognizer", default=defaults.RECOGNIZER, show_default=True, metavar="NAME[:FILE]")
@click.option("--every", default="0.2s", show_default=True, metavar="SECONDSs|N", help="Frames of videos searched.")
@click.option("--pattern", default="", metavar="TEXT", help="Camera and time in paths: '{camera}/{date}/{time}.mp4'.")
@click.option("--timezone", "zone", default="UTC", show_default=True, help="Of dates and times in paths.")
@click.option("--fps", type=click.FloatRange(0, min_open=True), help="Pictures a second, for {frame} in --pattern.")
@click.option("--watch-list", type=click.Path(path_type=Path), help="CSV: subject, threshold; only these are sought.")
@click.option("--top", type=click.IntRange(1), default=1, show_default=True, help="Candidates per appearance.")
@click.option("--threshold", type=click.FloatRange(-1, 1), help="Mark candidates from this cosine on.")
@click.option("--fmr", type=click.FloatRange(0, 1), help="False match rate of the threshold, as you measured it.")
@click.option("--max-gap", type=click.FloatRange(0), default=2.0, show_default=True, help="Seconds within a tracklet.")
@click.option("--embeddings", is_flag=True, help="Put the embeddings into faces.parquet.")
@click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True)
@click.option("--workers", type=click.IntRange(0), default=0, help="Processes, or Ray actors [1; what Ray holds].")
@click.option("--ray-address", help="Of a Ray cluster [RAY_ADDRESS, else one is started here].")
@click.option("--gpus-per-worker", type=click.FloatRange(0), default=0.0, help="GPU share of a Ray actor, e.g. 0.25.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads of each worker.")
@click.option("--key-file", type=click.Path(path_type=Path), help="Key of an encrypted gallery [FACEUP_GALLERY_KEY].")
@click.option("--purpose", default="", help="Why; goes into the gallery's audit log.")
def command(
    gallery: Path,
    archives: tuple[Path, ...],
    more: tuple[Path, ...],
    job: Path,
    resume: bool,
    every: str,
    min_face_size: int | None,
    max_side: int | None,
    small_eyes: float,
    pattern: str,
    zone: str,
    fps: float | None,
    watch_list: Path | None,
    engine: str,
    workers: int,
    ray_address: str | None,
    gpus_per_worker: float,
    key_file: Path | None,
    purpose: str,
    device: str,
    **rest: Any,
) -> None:
    """Find the people of a GALLERY in archives of video and pictures; interrupted, it goes on with --resume.

    The results lie in JOB/results: appearances.csv, coverage.csv, report.html, Parquet files, thumbnails. A similarity
    is an investigative lead, never a match. Docs: docs/archives.md.
    """
    from faceup.archive.batch import Batch
    from faceup.archive.job import RESULTS, run_batch
    from faceup.archive.places import Places, time_zone
    from faceup.archive.ray_engine import RayOptions
    from faceup.archive.settings import FaceSettings, ResultSettings, parse_every
    from faceup.gallery.crypt import read_secret
    from faceup.runtime.device import pick_device

    given = {"min_face_size": min_face_size, "max_side": max_side}
    faces = FaceSettings(
        detector_options={key: value for key, value in given.items() if value is not None},
        small_eye_px=small_eyes,
        # Actors with a share of a GPU use it, whether or not this machine has one.
        device="cuda" if engine == "ray" and gpus_per_worker and device != "cpu" else pick_device(device),
        **{key: rest[key] for key in ("sr", "scale", "detector", "recognizer", "threads")},
    )
    results = ResultSettings(
        rest["top"], rest["threshold"], rest["fmr"], rest["max_gap"], embeddings=rest["embeddings"]
    )
    batch = Batch(
        gallery,
        [*archives, *more],
        job,
        faces,
        results,
        parse_every(every),
        Places(pattern, time_zone(zone), fps),
        engine,
        workers,
        RayOptions(ray_address, workers, gpus_per_worker),
        resume=resume,
        watch_list=watch_list,
        secret=read_secret(key_file),
        purpose=purpose,
    )
    with _progress() as progress:
        totals = run_batch(batch, progress=progress, command=["faceup", *sys.argv[1:]])
    inputs = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in sorted(totals.inputs.items()))
    click.echo(
        f"{totals.pictures} pictures and {totals.frames} frames searched "
        f"({totals.minutes_searched:.2f} of {totals.minutes:.2f} minutes of video); inputs: {inputs}"
    )
    above = "" if totals.above is None else f", {totals.above} with a first candidate that reaches the threshold"
    click.echo(f"{totals.faces} faces in {totals.appearances} appearances{above}")
    click.echo(f"wrote {shown(job / RESULTS)}: appearances.csv, faces.parquet, coverage.csv, report.html")
    if totals.failed_units:
        click.echo(f"{totals.failed_units} units failed (see coverage.csv); try them again with --resume.", err=True)
        raise click.exceptions.Exit(1)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Bars on a terminal; elsewhere a line now and then, so that a log tells how far a job of days has come."""
    from faceup.cli._progress import bars

    if not sys.stderr.isatty():
        yield _Lines()
        return
    with bars() as step:
        yield step


class _Lines:
    """A line of progress every `LINE_EVERY_S` seconds, with rate and time left."""

    def __init__(self) -> None:
        self.begun: dict[str, float] = {}
        self.told = time.monotonic()

    def __call__(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        passed = now - self.begun.setdefault(name, now)
        if now < self.told + LINE_EVERY_S or not done or not passed:
            return
        self.told = now
        left = f", about {(total - done) * passed / done / 60:.0f} min left" if total > done else ""
        click.echo(f"{name}: {done} of {total}, {done / passed:.1f} a second{left}", err=True)
