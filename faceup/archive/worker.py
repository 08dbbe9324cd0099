"""A worker: holds the networks and turns units into shards."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from fractions import Fraction

from faceup.archive import shards
from faceup.archive.decode import Decoded, SourceChangedError, batches, read_ahead, read_unit
from faceup.archive.faces import FaceFinder
from faceup.archive.settings import FaceSettings
from faceup.archive.shards import ItemReport, ShardRow
from faceup.archive.units import Unit
from faceup.archive.video import Damage
from faceup.errors import ConfigError, FaceupError, WeightsError
from faceup.runtime.batching import run_in_halves


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a unit.

    Attributes:
        data: its shard; None when it failed.
        faces: how many it holds.
        reason: why it failed.
        changed: whether a file vanished or changed, so that the archive must be listed again.
    """

    data: bytes | None
    faces: int = 0
    reason: str = ""
    changed: bool = False


class Worker:
    """Networks, built once.

    Raises:
        ConfigError: a backend is unknown or refuses its settings.
        WeightsError: weights are missing or damaged.
    """

    def __init__(self, settings: FaceSettings) -> None:
        self.finder = FaceFinder(settings)
        _use_threads(settings.threads)

    def process(self, unit: Unit) -> Outcome:
        """Return the shard of a unit, or why there is none; never raises for a bad file or a bad picture."""
        try:
            return self._process(unit)
        except SourceChangedError as error:
            return Outcome(None, reason=str(error), changed=True)
        except (ConfigError, WeightsError):
            raise
        except FaceupError as error:
            return Outcome(None, reason=str(error))
        except MemoryError:
            return Outcome(None, reason="memory ran out, even for one picture at a time")
        except Exception as error:  # one unit of a plug-in's bad day must not end a job of weeks
            return Outcome(None, reason=f"unexpected {type(error).__name__}: {error}")

    def _process(self, unit: Unit) -> Outcome:
        damage = Damage()
        reports = [_expected(unit)] if unit.video is not None else [ItemReport(wanted=1) for _ in unit.items]
        rows: list[ShardRow] = []
        with contextlib.closing(read_ahead(lambda: batches(read_unit(unit, damage)))) as decoded:
            for batch in decoded:
                rows += self._faces(unit, batch, reports)
        if unit.video is not None:
            (report,) = reports
            lost = report.wanted - report.searched
            parts = [f"{lost} of {report.wanted} frames could not be decoded"] if lost else []
            parts += [f"{damage.count} damaged packets, the first: {damage.first}"] if damage.count else []
            parts += [f"{damage.corrupt} frames are damaged, searched as they are"] if damage.corrupt else []
            report.problem = "; ".join(parts)
        return Outcome(shards.to_bytes(rows, reports, self.finder.embedder.dimension), len(rows))

    def _faces(self, unit: Unit, batch: list[Decoded], reports: list[ItemReport]) -> list[ShardRow]:
        good = [(picture.number, picture.image) for picture in batch if picture.image is not None]
        for picture in batch:
            if picture.image is None:
                reports[picture.number].problem = picture.problem
        rows = []
        found = run_in_halves(self.finder.find, [image for _, image in good]) if good else []
        for (number, image), faces in zip(good, found, strict=True):
            item, pts = (number, None) if unit.video is None else (0, unit.video.wanted[number])
            report = reports[item]
            report.searched += 1
            report.faces += len(faces)
            if unit.video is not None:
                report.seconds_searched += float(unit.video.spans[number] * Fraction(*unit.video.time_base))
            placed = unit.video is not None or max(image.width, image.height) > self.finder.settings.crop_side
            rows += [ShardRow(item, pts, placed, face) for face in faces]
        return rows


def _expected(unit: Unit) -> ItemReport:
    assert unit.video is not None
    seconds = float(sum(unit.video.spans) * Fraction(*unit.video.time_base))
    return ItemReport(wanted=len(unit.video.wanted), seconds=seconds)


def _use_threads(threads: int) -> None:
    os.environ["OMP_NUM_THREADS"] = str(threads)
    for name, function in (("torch", "set_num_threads"), ("cv2", "setNumThreads")):
        if (module := sys.modules.get(name)) is not None:
            getattr(module, function)(threads)
