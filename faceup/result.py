"""What a run returns: tables as pandas frames and the record of what made them, and how they are saved."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from faceup.errors import DataError
from faceup.files import refuse_existing, shown, whole_folder
from faceup.frames import write_csv
from faceup.metrics.table5 import of_candidates, table5
from faceup.pictures import PictureStore
from faceup.report.evaluation import FOLDER, NUMBERS, PLOTS
from faceup.report.evaluation import RECORD as EVALUATION
from faceup.report.html import write_report
from faceup.report.tables import write_tables
from faceup.search import FILE, Searched, write_searches

RECORD = "run.json"
# What an evaluation consists of, and what `_write_into` writes beside it.
EVALUATION_FILES = (
    "|".join(map(re.escape, (*NUMBERS, "thresholds.json", "metrics.md", EVALUATION)))
    + rf"|plots/({'|'.join(PLOTS)})\.(png|svg)"
)
_OWN = re.compile(
    rf"(similarity|similarity_shared|detections|alarm)\.csv|table(_candidates)?\.(csv|md|tex)|report\.html"
    rf"|{re.escape(FILE)}|{re.escape(RECORD)}|pictures/(\d+\.png|pictures\.csv)|{FOLDER}/({EVALUATION_FILES})"
)


@dataclass(frozen=True)
class RunResult:
    """The outcome of `faceup.run`.

    Attributes:
        similarity: one row per SR system, probe and gallery picture.
        detections: one row per SR system and picture.
        record: the content of run.json.
        pictures: the pictures kept for the report; they lie on disk as long as this object lives.
        alarm: one row per SR system and probe: how far the picture departs from what came, and the flag.
        searches: where there were too many comparisons to keep each, what was kept of them by SR system; `similarity`
            then has every probe's own person and the best other people.
        shared: with `split_gain`, the same as `similarity` with the same landmarks for every SR system.
        inputs: the files of the pictures that were read.
    """

    similarity: pd.DataFrame
    detections: pd.DataFrame
    record: dict[str, Any]
    pictures: PictureStore
    alarm: pd.DataFrame | None = None
    shared: pd.DataFrame | None = None
    searches: dict[str, Searched] | None = None
    inputs: tuple[Path, ...] = ()

    @cached_property
    def table(self) -> pd.DataFrame:
        """Table 5: one row per SR system, one column per candidate, then averages and rates (see `table5`)."""
        return table5(self.similarity, self.record["recipe"]["sr"])

    @property
    def warnings(self) -> list[str]:
        """What the user should know before trusting the table."""
        return list(self.record["warnings"])

    def save(self, folder: str | Path, *, force: bool = False) -> Path:
        """Write the run folder, whole or not at all.

        Args:
            folder: where to; must not exist, unless `force` is given and it is a run folder.
            force: replace an earlier run folder.

        Raises:
            DataError: the folder exists, or it cannot be written.
        """
        target = Path(folder)
        with whole_folder(target, lambda existing: check_target(existing, force=force, inputs=self.inputs)) as staging:
            self._write_into(staging)
        return target

    def _write_into(self, folder: Path) -> None:
        shutil.copytree(self.pictures.folder, folder / "pictures", copy_function=shutil.copyfile)
        (folder / "pictures").chmod(0o755)
        write_csv(self.pictures.table(), folder / "pictures" / "pictures.csv")
        write_csv(self.similarity, folder / "similarity.csv", decimals=6)
        write_csv(self.detections, folder / "detections.csv", decimals=3)
        if self.alarm is not None:
            write_csv(self.alarm, folder / "alarm.csv", decimals=6)
        if self.shared is not None:
            write_csv(self.shared, folder / "similarity_shared.csv", decimals=6)
        if self.searches is not None:
            write_searches(folder / FILE, self.searches)
        text = json.dumps(self.record, indent=2, sort_keys=True, ensure_ascii=True)
        (folder / RECORD).write_text(text + "\n", encoding="utf-8")
        write_tables(self.table, self.similarity, self.record, folder)
        if self.record.get("candidates"):
            drawn = of_candidates(self.similarity, self.record["candidates"])
            write_tables(table5(drawn, self.record["recipe"]["sr"]), drawn, self.record, folder, "table_candidates")
        write_report(folder)


def check_target(target: Path, *, force: bool, inputs: Iterable[Path] = ()) -> None:
    """Raise DataError if a run folder must not be written to `target`; nothing that is not a run is ever replaced.

    Args:
        target: of the run.
        force: an earlier run may be replaced.
        inputs: the pictures that the run is to read; those of an earlier run must not go with it.
    """
    refuse_existing(target, "`faceup run`", RECORD, _OWN.fullmatch, force=force)
    if os.path.lexists(target):
        replaced = os.path.realpath(target) + os.sep
        lost = [path for path in inputs if os.path.realpath(path).startswith(replaced)]
        if lost:
            raise DataError(
                f"{shown(lost[0])} is a picture for this run and lies in {shown(target)}, which is to be replaced: "
                "choose another folder for the run."
            )
