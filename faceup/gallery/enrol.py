"""From pictures to gallery rows and to queries: found, aligned and embedded as in `faceup run`, without SR."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

from faceup import defaults, registry
from faceup.acquire import Acquired, Stages, acquire
from faceup.errors import DataError
from faceup.files import sha256_hex, shown
from faceup.gallery.model import Model, build_embedder
from faceup.gallery.rows import Rows, checked_date
from faceup.images import SUFFIXES, read_bytes
from faceup.manifest import read_samples
from faceup.registry import Options
from faceup.runtime.device import pick_device
from faceup.types import Role, Sample

RETENTION = "retain_until"


@dataclass(frozen=True, slots=True)
class Networks:
    """The detector and recogniser that a gallery is built and searched with.

    Attributes:
        recognizer: `NAME` or `NAME:FILE`.
        recognizer_options: its settings.
        detector: name.
        detector_options: its settings.
        device: `auto`, `cpu` or `cuda`.
    """

    recognizer: str = defaults.RECOGNIZER
    recognizer_options: Mapping[str, Any] = field(default_factory=dict)
    detector: str = "mtcnn"
    detector_options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"

    def build(self) -> tuple[Stages, Model]:
        """Build both; the model is the recogniser's identity."""
        device = pick_device(self.device)
        embedder, model = build_embedder(self.recognizer, self.recognizer_options, device)
        detector = registry.build("detect", self.detector, Options(device=device, extra=dict(self.detector_options)))
        return Stages(detector, embedder), model


@dataclass(frozen=True, slots=True, eq=False)
class Enrolled:
    """What became of pictures.

    Attributes:
        rows: those with a face.
        failed: those without, or unreadable: failures to enrol.
        seen: how many pictures there were.
    """

    rows: Rows
    failed: tuple[Acquired, ...]
    seen: int


def enrol(
    source: str | PathLike[str],
    stages: Stages,
    *,
    role: Role = "gallery",
    retain_until: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Enrolled:
    """Embed the pictures of a folder, CSV or YAML.

    Args:
        source: as for `faceup run`, or one picture as a query; a manifest's `retain_until` wins over the argument.
        stages: detector and recogniser.
        role: `gallery`, or `probe` for queries, whose subjects may be unknown.
        retain_until: YYYY-MM-DD, or empty for no limit.
        progress: called with pictures done and pictures in all.

    Raises:
        DataError: no picture, or a picture without a subject.
        ConfigError: a date is not YYYY-MM-DD.
    """
    samples = _listed(Path(source), role)
    limits = [checked_date(sample.attrs.get(RETENTION, "") or retain_until) for sample in samples]

    def told(done: int) -> None:
        if progress is not None:
            progress(done, len(samples))

    found, embeddings = acquire(samples, registry.build("sr", "none", Options()), stages, on_progress=told)
    good = [i for i, row in enumerate(found) if row.status == "ok"]
    rows = Rows(
        tuple(samples[i].subject_id or "" for i in good),
        tuple(samples[i].sample_id for i in good),
        tuple(samples[i].sha256 for i in good),
        tuple(limits[i] for i in good),
        embeddings.vectors[good],
    )
    return Enrolled(rows, tuple(row for row in found if row.status != "ok"), len(samples))


def _listed(source: Path, role: Role) -> Sequence[Sample]:
    if role == "probe" and source.suffix.lower() in SUFFIXES and source.is_file():
        return [Sample(shown(source.name), None, source, role, sha256_hex(read_bytes(source)))]
    return read_samples(source, role).samples


def need_some(enrolled: Enrolled) -> None:
    """Raise DataError if no picture could be enrolled."""
    if not len(enrolled.rows):
        first = enrolled.failed[0]
        why = first.message or f"no face in {first.sample.sample_id}"
        raise DataError(f"None of {enrolled.seen} pictures can be enrolled: {why}.")


def subjects_hash(gallery_id: str, subjects: Sequence[str]) -> str:
    """Return what the audit log says of who was removed: names can be checked against it, not read from it."""
    return hashlib.sha256("\n".join([gallery_id, *sorted(set(subjects))]).encode()).hexdigest()
