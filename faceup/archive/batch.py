"""Everything that a batch job is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faceup.archive.places import Places
from faceup.archive.ray_engine import RayOptions
from faceup.archive.settings import Every, FaceSettings, ResultSettings

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything that `faceup batch` is told.

    Attributes:
        gallery: folder of a gallery (`faceup gallery build`), or pictures as for `faceup run`.
        archives: folders, videos, and manifests (CSV with path, camera, start).
        job: folder of the job.
        faces: how faces are found.
        results: how they become appearances.
        every: which frames are searched.
        places: reads camera and time from paths.
        engine: `local` or `ray`.
        workers: processes or actors; 0 for one in this process, or for what the cluster holds.
        ray: how the cluster is used.
        resume: go on with a job that exists.
        watch_list: CSV with a column subject, and perhaps threshold: only these are looked for.
        secret: key of an encrypted gallery.
        purpose: for the gallery's audit log.
    """

    gallery: Path
    archives: Sequence[Path]
    job: Path
    faces: FaceSettings
    results: ResultSettings
    every: Every
    places: Places = field(default_factory=Places)
    engine: str = "local"
    workers: int = 0
    ray: RayOptions = field(default_factory=RayOptions)
    resume: bool = False
    watch_list: Path | None = None
    secret: bytes | None = None
    purpose: str = ""
