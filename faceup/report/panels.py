"""The pictures of the HTML report: which are shown together, with the face found in each and its similarity."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from faceup.images import at_most, encode_png, read_image
from faceup.report.run_folder import POINTS, Run, damaged
from faceup.report.text import counted, method_name, number, shortened
from faceup.types import BOX, Image

Kind = Literal["gallery", "original", "enlarged", "generated"]
# Longest side of an embedded picture, in pixels; twice what a screen shows of it.
EMBEDDED_SIDE = 480
# CSS width that pictures are shown at, about; see `_shown_width`.
SHOWN_WIDTH = 200
# Base64 characters of all pictures together: above this, browsers open the report too slowly to be of use.
EMBEDDED_LIMIT = 96 * 2**20
LEADS = 3


@dataclass(frozen=True, slots=True)
class Overlay:
    """The face found in a picture, in the coordinates of an SVG whose viewBox is the picture in pixels.

    Pixel centres, which faceup puts at integers, are at halves there.

    Attributes:
        box: x, y, width, height.
        points: x and y of the five landmarks.
    """

    box: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture of the report, or why there is none.

    Attributes:
        kind: `gallery`; of a probe `original`, `enlarged` (interpolated), or `generated` (pixels were invented).
        title: what the picture is.
        alt: the same for people who cannot see it.
        uri: `data:` URI of the PNG, None where there is no picture.
        width: of the picture that was searched, in pixels, before any reduction; 0 without a picture.
        height: likewise.
        pixelated: whether it is shown larger than it is.
        overlay: the face found, if any.
        results: short lines below the picture that say how it compares.
        facts: more lines: what the detector found, and sizes.
    """

    kind: Kind
    title: str
    alt: str
    uri: str | None
    width: int
    height: int
    pixelated: bool
    overlay: Overlay | None
    results: tuple[str, ...]
    facts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Strip:
    """A probe: its original, then what each SR system made of it.

    Attributes:
        probe: its id.
        width: CSS width of its pictures in px.
        figures: the original first.
    """

    probe: str
    width: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """A subject with pictures.

    Attributes:
        subject: its id, empty for a probe of an unknown person.
        anchor: id of the element in the page.
        known: whether the gallery has pictures of the subject.
        gallery: the subject's gallery pictures.
        strips: its probes that have pictures.
        probes: how many probes it has in all.
    """

    subject: str
    anchor: str
    known: bool
    gallery: tuple[Figure, ...]
    strips: tuple[Strip, ...]
    probes: int


class Panels:
    """Builds the panels of a run; `left_out` says afterwards how many did not fit into the report."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.pictures = _keyed(run.pictures)
        self.detections = _keyed(run.detections)
        self.generative = {b["label"] for b in run.record["backends"] if b["stage"] == "sr" and b["generative"]}
        self.flags: dict[tuple[str, str], str] = {}
        if run.alarm is not None:
            marked = run.alarm[run.alarm["flagged"] == 1]
            self.flags = {(sr, probe): why for sr, probe, why in marked[["sr", "probe", "reasons"]].to_numpy().tolist()}
        self.embedded = 0
        self.left_out = 0
        probes = run.detections[run.detections["role"] == "probe"].drop_duplicates("sample")
        self.subject_of: dict[str, str] = dict(zip(probes["sample"], probes["subject"], strict=True))
        shown = {sample for _, role, sample in self.pictures if role == "probe"}
        self.probes = sorted(shown & set(self.subject_of))
        of_shown = run.similarity[run.similarity["probe"].isin(shown)]
        self.compared: dict[tuple[str, str], pd.DataFrame] = dict(iter(of_shown.groupby(["sr", "probe"])))
        self.enrolled: dict[str, list[str]] = {}
        for row in run.record["gallery"]:
            self.enrolled.setdefault(row["subject"], []).append(row["sample"])

    def build(self) -> list[Panel]:
        """Return the panels: people of the gallery sorted by name, then the probes of everyone else."""
        known: dict[str, list[str]] = {}
        unknown = []
        for probe in self.probes:
            subject = self.subject_of[probe]
            if subject in self.enrolled:
                known.setdefault(subject, []).append(probe)
            else:
                unknown.append((subject, [probe]))
        every = pd.Series(list(self.subject_of.values()), dtype=object).value_counts()
        panels = []
        for i, (subject, probes) in enumerate([*sorted(known.items()), *unknown]):
            if self.embedded > EMBEDDED_LIMIT:
                self.left_out += 1
                continue
            is_known = subject in self.enrolled
            gallery = tuple(self._gallery(subject)) if is_known else ()
            strips = tuple(self._strip(probe) for probe in probes)
            count = int(every[subject]) if is_known else len(probes)
            panels.append(Panel(subject, f"person-{i + 1}", is_known, gallery, strips, count))
        return panels

    def _gallery(self, subject: str) -> Iterator[Figure]:
        for sample in self.enrolled[subject]:
            found = self.detections.get(("none", "gallery", sample))
            alt = f"Gallery picture {shortened(sample)} of {shortened(subject)}"
            yield self._figure(("none", "gallery", sample), "gallery", sample, alt, found, SHOWN_WIDTH, ())

    def _strip(self, probe: str) -> Strip:
        labels = ["none", *(label for label in self.run.sr if label != "none")]
        width = _shown_width([self._size((label, "probe", probe))[0] for label in labels])
        return Strip(probe, width, tuple(self._probe_figure(label, probe, width) for label in labels))

    def _probe_figure(self, label: str, probe: str, width: int) -> Figure:
        key = (label, "probe", probe)
        picture = self.pictures.get(key)
        kind: Kind = "enlarged"
        if label == "none":
            kind, title, alt = "original", method_name(label), f"Original of probe {shortened(probe)}"
        elif label in self.generative or (picture is not None and picture["generated"]):
            kind, title = "generated", label
            alt = f"GENERATED picture: probe {shortened(probe)} after {shortened(label)}; its details are invented"
        else:
            title, alt = label, f"Enlarged picture: probe {shortened(probe)} after {shortened(label)}"
        results = self._comparison(label, probe)
        if why := self.flags.get((label, probe)):
            results = (*results, f"FLAGGED by the hallucination alarm: {why.replace(' ', ', ')}")
        return self._figure(key, kind, title, alt, self.detections.get(key), width, results)

    def _figure(
        self,
        key: tuple[str, str, str],
        kind: Kind,
        title: str,
        alt: str,
        found: Mapping[Any, Any] | None,
        shown_width: int,
        comparison: tuple[str, ...],
    ) -> Figure:
        uri, width, height, note = self._embed(key, found)
        overlay: Overlay | None = None
        results: tuple[str, ...] = ()
        facts: list[str] = []
        if found is None:
            facts = ["not searched for a face in this run"]
        elif found["status"] == "unreadable":
            facts = [f"file unreadable: {shortened(found['message'], 200)}"]
        elif found["status"] == "no_face":
            results = ("no face found",)
        else:
            overlay, results = (face_overlay(found) if uri else None), comparison
            facts = [f"face score {found['score']:.3f}", f"eyes {found['inter_eye_px']:.1f} px apart"]
            if found["faces"] > 1:
                facts.append(f"{int(found['faces'])} faces found; the largest near the centre is used")
        small = 0 < width < shown_width
        return Figure(kind, title, alt, uri, width, height, small, overlay, results, (*facts, *note))

    def _embed(
        self, key: tuple[str, str, str], found: Mapping[Any, Any] | None
    ) -> tuple[str | None, int, int, tuple[str, ...]]:
        picture = self.pictures.get(key)
        if picture is None:
            return None, 0, 0, ()
        path = self.run.picture_path(picture["file"])
        if path.resolve().parent != path.parent.resolve():
            raise damaged(path, "a link to a file outside the run folder")
        image = read_image(path)
        width, height = image.width, image.height
        if found is not None and found["status"] != "unreadable":
            width, height = int(found["width"]), int(found["height"])
            if not _shows(image, width, height, reduced=key[1] == "gallery"):
                got = f"{image.width} x {image.height} px"
                raise damaged(path, f"{got}, but detections.csv says {width} x {height} px")
        image = at_most(image, EMBEDDED_SIDE)
        reduced = ", reduced here" if image.width < width or image.height < height else ""
        # Encoded anew, so that nothing but pixels gets from a file into the page.
        uri = "data:image/png;base64," + base64.b64encode(encode_png(image)).decode("ascii")
        self.embedded += len(uri)
        return uri, width, height, (f"{width} × {height} px{reduced}",)

    def _size(self, key: tuple[str, str, str]) -> tuple[int, int]:
        found = self.detections.get(key)
        return (0, 0) if found is None or pd.isna(found["width"]) else (int(found["width"]), int(found["height"]))

    def _comparison(self, label: str, probe: str) -> tuple[str, ...]:
        """Return how the probe compares with its own subject, and who comes first if another does."""
        rows = self.compared.get((label, probe))
        if rows is None:
            return ()
        if self.run.record["recipe"].get("pairs") is not None:
            return tuple(_listed_pair(row) for row in rows.to_dict("records"))
        rows = rows[rows["detected"] == 1]
        own = rows[rows["genuine"] == 1]
        lines = []
        if len(own):
            best = own["rank"].min()
            # Of large runs similarity.csv has a few others only.
            of = "" if self.run.searches is not None else f" of {1 + int((rows['genuine'] == 0).sum())}"
            several = f" (best of {counted(len(own), 'gallery picture')})" if len(own) > 1 else ""
            lines = [f"similarity {number(own['similarity'].max())}{several}", f"rank {best:.0f}{of}"]
            if best == 1:
                return tuple(lines)
        elif self.subject_of[probe] in self.enrolled:
            lines = ["not compared: no face in the gallery picture"]
        # The rank tells the order where similarities are clipped to the same 0.
        ordered = rows.sort_values(["rank", "similarity", "gallery"], ascending=[True, False, True], kind="stable")
        first = ordered.drop_duplicates("gallery_subject").head(1 if len(own) else LEADS)
        leads = [
            f"{shortened(subject, 32)} ({number(value)})"
            for subject, value in zip(first["gallery_subject"], first["similarity"], strict=True)
        ]
        if leads:
            lines.append(f"first {'lead' if len(leads) == 1 else 'leads'}: {', '.join(leads)}")
        return tuple(lines)


def _listed_pair(row: Mapping[Any, Any]) -> str:
    """Return what became of one of the comparisons that a list of pairs asked for."""
    found = f"similarity {number(row['similarity'])}" if row["detected"] == 1 else "not compared"
    return f"with {shortened(row['gallery'], 32)} ({'same' if row['genuine'] == 1 else 'other'} person): {found}"


def face_overlay(found: Mapping[Any, Any]) -> Overlay:
    """Return the overlay for a row of detections.csv that has a face.

    Args:
        found: the row; coordinates in pixels of the picture, pixel centres at integers.
    """
    x0, y0, x1, y1 = (float(found[name]) for name in BOX)
    coordinates = [float(found[name]) + 0.5 for name in POINTS]
    points = tuple(zip(coordinates[::2], coordinates[1::2], strict=True))
    return Overlay((x0 + 0.5, y0 + 0.5, max(0.0, x1 - x0), max(0.0, y1 - y0)), points)


def _keyed(frame: pd.DataFrame) -> dict[tuple[str, str, str], dict[Any, Any]]:
    return {(row["sr"], row["role"], row["sample"]): row for row in frame.to_dict("records")}


def _shows(image: Image, width: int, height: int, *, reduced: bool) -> bool:
    """Return whether a kept picture can be one of this size; `reduced` allows a smaller copy."""
    if (image.width, image.height) == (width, height):
        return True
    # The sides were rounded, so the products may differ by one pixel of either side.
    skew = abs(image.width * height - image.height * width)
    return reduced and image.width <= width and image.height <= height and skew <= max(width, height)


def _shown_width(widths: list[int]) -> int:
    """Return a CSS width near `SHOWN_WIDTH` that the widest picture divides: every pixel is shown as a square."""
    widest = max(widths)
    if not 0 < widest <= 1.2 * SHOWN_WIDTH:
        return SHOWN_WIDTH
    return widest * max(1, round(SHOWN_WIDTH / widest))
