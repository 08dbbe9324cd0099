"""Reads a run folder back, and trusts nothing in it: the folder may be damaged, edited, or another person's."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from faceup.errors import DataError
from faceup.files import csv_text, shown
from faceup.metrics.alarm import MEASURES
from faceup.recipe import SIMILARITIES
from faceup.report.text import shortened
from faceup.search import FILE, Searched, read_searches
from faceup.types import BOX, LANDMARKS

POINTS = tuple(f"{name}_{axis}" for name in LANDMARKS for axis in "xy")
_RECORD = {
    "faceup": str,
    "command": list,
    "created": str,
    "recipe": dict,
    "versions": dict,
    "device": str,
    "threads": int,
    "seed": int,
    "backends": list,
    "gallery": list,
    "probes": list,
    "timings": dict,
    "warnings": list,
}
_BACKEND = {"stage": str, "label": str, "name": str, "version": str, "licence": str, "summary": str}
_SAMPLE = {"sample": str, "subject": str, "sha256": str}
_SIMILARITY = ("sr", "probe", "probe_subject", "gallery", "gallery_subject")
_FACE = (*BOX, "score", *POINTS, "inter_eye_px", "faces")
_DETECTION = ("sr", "role", "sample", "subject", "status", "message")
_PICTURE = ("sr", "role", "sample", "file")
_ALARM = ("eye_lr_px", *MEASURES)


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The content of a run folder, checked. Texts are those of the manifests: what guards CSV cells is taken off.

    Attributes:
        folder: where it was read from.
        record: run.json.
        similarity: similarity.csv; numbers are float64, NaN where the file has an empty cell. `cosine` is that of
            `similarity` in folders of earlier versions, with every negative value as 0 where it was clipped.
        detections: detections.csv, likewise; `scale` and `sharpness` are NaN in folders of earlier versions.
        pictures: pictures/pictures.csv with `generated` as 0 or 1; every file is inside the folder `pictures`.
        alarm: alarm.csv, None where the folder has none.
        shared: similarity_shared.csv, None where the folder has none.
        searches: what was kept of all comparisons by SR system, None where `similarity` has them all.
    """

    folder: Path
    record: dict[str, Any]
    similarity: pd.DataFrame
    detections: pd.DataFrame
    pictures: pd.DataFrame
    alarm: pd.DataFrame | None = None
    shared: pd.DataFrame | None = None
    searches: dict[str, Searched] | None = None

    @property
    def sr(self) -> list[str]:
        """Labels of the SR systems, in the order of the table."""
        return list(self.record["recipe"]["sr"])

    def picture_path(self, file: str) -> Path:
        """Return the path of a picture that `pictures` names."""
        return self.folder / "pictures" / file


def read_run(folder: Path) -> Run:
    """Read and check the folder that `faceup run` wrote.

    Raises:
        DataError: a file is missing, cannot be read, or does not hold what a run writes; the message names it.
    """
    if not folder.is_dir():
        raise DataError(f"{shown(folder)}: no such run folder.")
    record = _record(folder / "run.json")
    names = {csv_text(name): name for name in _names(record)}
    similarity = _similarity(folder / "similarity.csv", names, record["recipe"])
    detections = _detections(folder / "detections.csv", names)
    pictures = _pictures(folder / "pictures" / "pictures.csv", names)
    alarm = _alarm(folder / "alarm.csv", names) if (folder / "alarm.csv").is_file() else None
    shared_csv = folder / "similarity_shared.csv"
    shared = _similarity(shared_csv, names, record["recipe"]) if shared_csv.is_file() else None
    searches = None
    if (folder / FILE).is_file():
        searches = read_searches(folder / FILE, record["recipe"]["sr"], len(record["probes"]))
    return Run(folder, record, similarity, detections, pictures, alarm, shared, searches)


def damaged(path: Path, what: str) -> DataError:
    """Return the error for a file of a run folder that does not hold what a run writes."""
    return DataError(f"{shown(path)}: {what}. The run folder is damaged or was edited: do the run again.")


def _record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read ({error.strerror or error}); is this a run folder?") from error
    except (ValueError, RecursionError) as error:
        raise damaged(path, f"not JSON in UTF-8 ({error})") from error
    _fields(path, record, _RECORD, "the file")
    recipe = record["recipe"]
    # Folders of earlier versions know neither.
    _fields(path, {"defaults": {}, **record}, {"defaults": dict}, "the file")
    _fields(path, {"data": {}, **recipe}, {"data": dict}, "recipe")
    sr = recipe.get("sr")
    if not (isinstance(sr, list) and sr and all(isinstance(label, str) for label in sr) and len(set(sr)) == len(sr)):
        raise damaged(path, f"recipe.sr must list the SR backends, each once, got {shortened(repr(sr))}")
    if recipe.get("similarity") not in SIMILARITIES:
        got = shortened(repr(recipe.get("similarity")))
        raise damaged(path, f"recipe.similarity must be one of {', '.join(SIMILARITIES)}, got {got}")
    for i, backend in enumerate(record["backends"]):
        _fields(path, backend, {**_BACKEND, "generative": bool, "weights": list}, f"backends[{i}]")
        for k, weights in enumerate(backend["weights"]):
            _fields(path, weights, {"name": str, "sha256": str}, f"backends[{i}].weights[{k}]")
    for side in ("gallery", "probes"):
        for i, sample in enumerate(record[side]):
            _fields(path, sample, _SAMPLE, f"{side}[{i}]")
            # Folders of earlier versions know neither.
            _fields(path, {"split": "", "attrs": {}, **sample}, {"split": str, "attrs": dict}, f"{side}[{i}]")
    checked: dict[str, Any] = record
    return checked


def _fields(path: Path, value: Any, fields: Mapping[str, type], where: str) -> None:
    if not isinstance(value, dict):
        raise damaged(path, f"{where} must be an object, got {type(value).__name__}")
    for name, kind in fields.items():
        if name not in value:
            raise damaged(path, f"{where} lacks {name!r}")
        if not isinstance(value[name], kind) or (kind is int and isinstance(value[name], bool)):
            raise damaged(path, f"{name!r} of {where} must be {kind.__name__}, got {type(value[name]).__name__}")


def _names(record: dict[str, Any]) -> list[str]:
    samples = [*record["gallery"], *record["probes"]]
    return [*record["recipe"]["sr"], *(s["sample"] for s in samples), *(s["subject"] for s in samples)]


def _table(
    path: Path, names: dict[str, str], texts: Sequence[str], numbers: Sequence[str], later: Sequence[str] = ()
) -> pd.DataFrame:
    """Read a CSV file; the number columns `later` are NaN in files of earlier versions, which lack them."""
    try:
        # object, not str: pandas 3 would hold the texts as Arrow arrays, which are slow to go through one by one.
        frame: pd.DataFrame = pd.read_csv(path, dtype=object, keep_default_na=False, na_filter=False, encoding="utf-8")
    except OSError as error:
        raise DataError(f"{shown(path)}: cannot be read ({error.strerror or error}); is this a run folder?") from error
    except ValueError as error:  # pandas' parser errors and UnicodeDecodeError are ValueErrors
        raise damaged(path, f"not CSV in UTF-8 ({shortened(str(error), 200)})") from error
    if missing := [column for column in (*texts, *numbers) if column not in frame.columns]:
        raise damaged(path, f"lacks the columns {', '.join(missing)}")
    for column in texts:
        frame[column] = frame[column].map({text: names.get(text, text) for text in frame[column].unique()})
    for column in (*numbers, *later):
        frame[column] = _numbers(path, frame[column], column) if column in frame.columns else np.nan
    return frame


def _numbers(path: Path, cells: pd.Series[Any], column: str) -> npt.NDArray[np.float64]:
    texts = cells.tolist()
    values = np.array([_number(text) if text else np.nan for text in texts], np.float64)
    wrong = np.flatnonzero(~np.isfinite(values) & np.array([text != "" for text in texts], bool))
    if len(wrong):
        row = int(wrong[0])
        raise damaged(path, f"row {row + 1}, column {column}: a number was expected, got {shortened(texts[row])!r}")
    return values


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def _check(path: Path, wrong: pd.Series[bool], what: str) -> None:
    if wrong.any():
        raise damaged(path, f"row {int(np.flatnonzero(wrong)[0]) + 1}: {what}")


def _flags(path: Path, frame: pd.DataFrame, *columns: str) -> None:
    for column in columns:
        _check(path, ~frame[column].isin([0, 1]), f"{column} must be 0 or 1")
        frame[column] = frame[column].astype(int)


def _similarity(path: Path, names: dict[str, str], recipe: Mapping[str, Any]) -> pd.DataFrame:
    sr: list[str] = recipe["sr"]
    frame = _table(path, names, _SIMILARITY, ("genuine", "detected", "similarity", "rank"), ("cosine", "fold"))
    _flags(path, frame, "genuine", "detected")
    same = (frame["probe_subject"] == frame["gallery_subject"]) & (frame["probe_subject"] != "")
    _check(path, same != (frame["genuine"] == 1), "genuine does not say whether the subjects are the same")
    for column in ("similarity", "rank"):
        _check(
            path, frame[column].notna() != (frame["detected"] == 1), f"{column} must be given where detected is 1 only"
        )
    _check(path, frame["similarity"].abs() > 1, "a similarity must be between -1 and 1")
    _check(
        path, (frame["rank"] < 1) | (frame["rank"] % 1 != 0) & frame["rank"].notna(), "a rank is a whole number from 1"
    )
    _check(path, frame.duplicated(["sr", "probe", "gallery"]), "the same comparison for a second time")
    if frame["cosine"].isna().all():
        frame["cosine"] = frame["similarity"] * 2 - 1 if recipe["similarity"] == "half" else frame["similarity"]
    _check(path, frame["cosine"].notna() != (frame["detected"] == 1), "cosine must be given where detected is 1 only")
    if set(frame["sr"]) != set(sr):
        found = ", ".join(map(shortened, sorted(set(frame["sr"]))))
        raise damaged(path, f"holds the SR systems {found or 'none'}, but run.json names {', '.join(sr)}")
    return frame


def _detections(path: Path, names: dict[str, str]) -> pd.DataFrame:
    frame = _table(path, names, _DETECTION, ("width", "height", *_FACE), ("scale", "sharpness"))
    _check(path, ~frame["role"].isin(["gallery", "probe"]), "role must be gallery or probe")
    _check(path, ~frame["status"].isin(["ok", "no_face", "unreadable"]), "status must be ok, no_face or unreadable")
    ok = frame["status"] == "ok"
    _check(path, ok & frame[list(_FACE)].isna().any(axis=1), "a face without box, score or landmarks")
    readable = frame["status"] != "unreadable"
    _check(path, readable & ~((frame["width"] >= 1) & (frame["height"] >= 1)), "a picture without width or height")
    _check(path, frame.duplicated(["sr", "role", "sample"]), "the same picture for a second time")
    return frame


def _alarm(path: Path, names: dict[str, str]) -> pd.DataFrame:
    frame = _table(path, names, ("sr", "probe", "reasons", "unchecked"), ("flagged", *_ALARM))
    _flags(path, frame, "flagged")
    _check(path, frame.duplicated(["sr", "probe"]), "the same picture for a second time")
    for column in ("reasons", "unchecked"):
        _check(
            path,
            ~frame[column].map(lambda text: set(text.split()) <= set(MEASURES)).astype(bool),
            f"{column} must name measures",
        )
    return frame


def _pictures(path: Path, names: dict[str, str]) -> pd.DataFrame:
    frame = _table(path, names, _PICTURE, ("generated",))
    _flags(path, frame, "generated")
    _check(path, ~frame["role"].isin(["gallery", "probe"]), "role must be gallery or probe")
    # A name with a folder in it could make the report show any file of the reader's machine.
    plain = frame["file"].map(lambda name: name not in ("", ".", "..") and not set(name) & set("/\\:\0"))
    _check(path, ~plain.astype(bool), "file must be the name of a file beside pictures.csv")
    _check(path, frame.duplicated(["sr", "role", "sample"]), "the same picture for a second time")
    return frame
