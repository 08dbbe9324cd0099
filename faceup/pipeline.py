"""The order of the stages: manifests, super-resolution, detection, embedding, comparison, tables.

`run` is the Python face of `faceup run`; the work is in the stages, the bookkeeping in `result`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from faceup import registry
from faceup.acquire import Acquired, Stages, acquire
from faceup.compare import compared, read_pairs
from faceup.errors import ConfigError, DataError
from faceup.images import at_most, read_image
from faceup.manifest import Listing, read_samples
from faceup.metrics.alarm import reduced_psnr
from faceup.pictures import PictureStore
from faceup.recipe import RunRecipe, make_recipe
from faceup.record import alarm_table, backend_entry, detection_row, run_record
from faceup.registry import Options
from faceup.result import RunResult
from faceup.runtime.device import pick_device
from faceup.search import OTHERS, Searched
from faceup.shared_landmarks import REFERENCE, SharedLandmarks
from faceup.types import Embeddings, Image, Role, Sample

# Without --save-images, pictures are kept for this many candidates: enough for a report that still opens fast.
REPORT_CANDIDATES = 24
GALLERY_SIDE = 512

Source = str | PathLike[str]
Progress = Callable[[str, int, int], None]


def run(
    gallery: Source | None = None,
    probes: Source | None = None,
    *,
    recipe: RunRecipe | None = None,
    progress: Progress | None = None,
    command: Sequence[str] = (),
    **settings: Any,
) -> RunResult:
    """Compare the faces of the probes, seen through each SR backend, with the gallery.

    Args:
        gallery: folder, CSV or YAML of high-definition pictures with known subjects.
        probes: the same for the pictures to recognise; unknown subjects are allowed.
        recipe: the settings; if absent it is made from `settings`, whose names are those of `RunRecipe`.
        progress: called with the name of a step, pictures done, and pictures in all.
        command: what the user typed, for the record.
        **settings: e.g. `sr=["bicubic", "sisn"]`, `scale=4`, `device="cpu"`.

    Returns:
        The result; `.save(folder)` writes it.

    Raises:
        ConfigError: a setting or backend name is wrong.
        DataError: a side is missing or has no readable picture, or no probe's subject is in the gallery.
        WeightsError: weights are missing or damaged.
    """
    if recipe is None:
        recipe = make_recipe(RunRecipe, settings)
    elif settings:
        recipe = make_recipe(RunRecipe, {**recipe.as_dict(), **settings})
    return run_listed(recipe, *listed(recipe, gallery, probes), progress=progress, command=command)


def listed(recipe: RunRecipe, gallery: Source | None, probes: Source | None) -> tuple[Listing, Listing]:
    """Return the pictures of both sides; arguments win over the recipe.

    Raises:
        DataError: a side is not given, empty, or no subject is common to both.
    """
    sides = (gallery or recipe.gallery, probes or recipe.probes)
    if sides[0] is None or sides[1] is None:
        raise DataError("A run needs a gallery and probes: --gallery and --probes, or both in the recipe.")
    known, wanted = read_samples(sides[0], "gallery"), read_samples(sides[1], "probe")
    enrolled = {s.subject_id for s in known.samples}
    named = {s.subject_id for s in wanted.samples if s.subject_id}
    if named and not named & enrolled:
        raise DataError(
            f"No probe shows a subject of the gallery: the gallery has {_some(enrolled)}, the probes {_some(named)}. "
            "Name files or sub-folders after the subjects, or give a CSV with an empty subject for unknown people."
        )
    return known, wanted


def run_listed(
    recipe: RunRecipe,
    gallery: Listing,
    probes: Listing,
    *,
    progress: Progress | None = None,
    command: Sequence[str] = (),
) -> RunResult:
    """Do what `run` does, on pictures that are listed already."""
    return _Run(recipe, gallery, probes, progress=progress, command=command).result()


def with_every_label(recipe: RunRecipe) -> RunRecipe:
    """Return the recipe with `all` among its SR backends replaced by their names."""
    return replace(recipe, sr=tuple(registry.expanded(recipe.sr, recipe.scale)))


def run_id(recipe: RunRecipe, gallery: Listing, probes: Listing) -> str:
    """Return `NAME-HASH`, the default name of the run folder: same settings and inputs, same name."""
    known = with_every_label(recipe).as_dict()
    settings = {key: value for key, value in known.items() if key not in ("gallery", "probes", "device")}
    inputs = [[s.role, s.sample_id, s.subject_id, s.sha256] for side in (gallery, probes) for s in side.samples]
    digest = hashlib.sha256(json.dumps([settings, inputs], sort_keys=True).encode()).hexdigest()
    return f"{recipe.name}-{digest[:8]}"


class _Run:
    """One run: built backends, kept pictures, collected rows."""

    def __init__(
        self,
        recipe: RunRecipe,
        gallery: Listing,
        probes: Listing,
        *,
        progress: Progress | None,
        command: Sequence[str],
    ) -> None:
        recipe = with_every_label(recipe)
        self.recipe, self.gallery, self.probes = recipe, gallery, probes
        registry.check_options(recipe.sr_options)
        self.progress, self.command = progress, list(command)
        self.device = pick_device(recipe.device)
        if recipe.threads:
            torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.backends: list[dict[str, Any]] = []
        # Everything is built before anything is computed: a wrong name or a damaged file costs no waiting.
        self.stages = Stages(
            self._build("detect", recipe.detector, recipe.detector_options),
            self._build("embed", recipe.recognizer, recipe.recognizer_options),
        )
        self.none = registry.build("sr", "none", Options())
        self.sr = {
            label: self._build("sr", label, recipe.sr_options.get(registry.split_name(label)[0], {}))
            for label in recipe.sr
        }
        if recipe.split_gain and not {"none", REFERENCE} <= set(self.sr):
            raise ConfigError(f"split_gain needs the SR backends none and {REFERENCE}, got {', '.join(self.sr)}.")
        self.pairs = (
            read_pairs(Path(recipe.pairs), gallery.samples, probes.samples) if recipe.pairs is not None else None
        )
        self.consistency: dict[tuple[str, str], float] = {}
        self.shared: SharedLandmarks | None = None
        self.searches: dict[str, Searched] = {}
        self.pictures = PictureStore()
        self.kept = self._kept_samples()
        self.shown_subjects = {s.subject_id for s in self.probes.samples if s.sample_id in self.kept}

    def _build(self, stage: registry.Stage, label: str, extra: dict[str, Any]) -> Any:
        name, file = registry.split_name(label)
        options = Options(self.recipe.scale, self.device, file, dict(extra))
        backend = registry.build(stage, name, options)
        info = registry.info(stage, name)
        entry = backend_entry(stage, label, info, file, self.recipe.scale)
        if engine := getattr(backend, "engine", None):
            entry["engine"] = engine  # the same weights give pictures that differ by up to a grey level
        self.backends.append(entry)
        return backend

    def _kept_samples(self) -> set[str]:
        """Return the ids of the probes whose pictures are kept for the report: the first of each candidate shown."""
        if self.recipe.save_images:
            return {s.sample_id for s in self.probes.samples}
        enrolled = {s.subject_id for s in self.gallery.samples}
        first: dict[str, str] = {}
        for s in self.probes.samples:
            if s.subject_id in enrolled and s.subject_id is not None:
                first.setdefault(s.subject_id, s.sample_id)
        return {first[subject] for subject in sorted(first)[:REPORT_CANDIDATES]}

    def result(self) -> RunResult:
        started = time.perf_counter()
        gallery_rows, gallery = self._acquire("gallery", "none", self.none, self.gallery.samples)
        if gallery.failed.all():
            raise DataError(f"No gallery picture can be used: {_first_problem(gallery_rows)}")
        detections = {"": [detection_row(row, "none") for row in gallery_rows]}
        embedded: dict[str, Embeddings] = {}
        own: dict[str, pd.DataFrame] = {}
        shared: dict[str, pd.DataFrame] = {}
        if "none" not in self.sr:
            self._keep_originals()
        for label in self._order():
            rows, probes = self._acquire("probe", label, self.sr[label], self.probes.samples)
            if all(row.status == "unreadable" for row in rows):
                raise DataError(f"No probe can be read: {_first_problem(rows)}")
            detections[label] = [detection_row(row, label) for row in rows]
            embedded[label], (own[label], kept) = probes, self._compare(label, gallery, probes)
            if kept is not None:
                self.searches[label] = kept
            if self.recipe.split_gain:
                if self.shared is None:  # The reference comes first; its own landmarks are the shared ones.
                    self.shared = SharedLandmarks(rows, self.stages.embedder)
                    shared[label] = own[label]
                else:
                    shared[label], _ = self._compare(label, gallery, self.shared.embeddings())
        frame = pd.DataFrame([row for label in ("", *self.sr) for row in detections[label]])
        self.stages.seconds["total"] = time.perf_counter() - started
        record = run_record(
            self.recipe,
            self.gallery,
            self.probes,
            frame,
            backends=self.backends,
            device=self.device,
            seconds=self.stages.seconds,
            command=self.command,
        )
        if self.searches:
            count = f"{len(self.gallery.samples)} x {len(self.probes.samples)}"
            record["warnings"].append(
                f"{count} comparisons for each SR system: similarity.csv has each probe's own person and the {OTHERS} "
                "most similar others only"
            )
        return RunResult(
            similarity=pd.concat([own[label] for label in self.sr], ignore_index=True),
            detections=frame,
            record=record,
            pictures=self.pictures,
            alarm=alarm_table({label: embedded[label] for label in self.sr}, self.consistency, frame, record),
            shared=pd.concat([shared[label] for label in self.sr], ignore_index=True) if shared else None,
            searches={label: self.searches[label] for label in self.sr} if self.searches else None,
            inputs=tuple(sample.path for side in (self.gallery, self.probes) for sample in side.samples),
        )

    def _order(self) -> list[str]:
        """Return the SR systems in the order of the work: with shared landmarks, those who give them come first."""
        if not self.recipe.split_gain:
            return list(self.sr)
        return [REFERENCE, *(label for label in self.sr if label != REFERENCE)]

    def _acquire(
        self, role: Role, label: str, backend: Any, samples: Sequence[Sample]
    ) -> tuple[list[Acquired], Embeddings]:
        info = registry.info("sr", registry.split_name(label)[0])

        def keep(sample: Sample, image: Image) -> None:
            if role == "gallery" and sample.subject_id in self.shown_subjects:
                self.pictures.keep(label, role, sample.sample_id, at_most(image, GALLERY_SIDE), generated=False)
            elif role == "probe" and sample.sample_id in self.kept:
                self.pictures.keep(label, role, sample.sample_id, image, generated=info.generative)

        def report(done: int) -> None:
            if self.progress is not None:
                self.progress("gallery" if role == "gallery" else f"probes, {label}", done, len(samples))

        def measure(sample: Sample, before: Image, after: Image) -> None:
            if label != "none":
                self.consistency[label, sample.sample_id] = reduced_psnr(after, before)
            if self.shared is not None:
                self.shared.add(sample.sample_id, after)

        on_pair = measure if role == "probe" else None
        return acquire(samples, backend, self.stages, on_picture=keep, on_pair=on_pair, on_progress=report)

    def _keep_originals(self) -> None:
        """Keep the probes as they came, for a report never shows an enlarged picture without its original."""
        for sample in self.probes.samples:
            if sample.sample_id in self.kept:
                try:
                    image = read_image(sample.path)
                except DataError:
                    continue  # becomes a row with status `unreadable`
                self.pictures.keep("none", "probe", sample.sample_id, image, generated=False)

    def _compare(self, label: str, gallery: Embeddings, probes: Embeddings) -> tuple[pd.DataFrame, Searched | None]:
        started = time.perf_counter()
        rows, kept = compared(
            label,
            gallery,
            probes,
            self.gallery.samples,
            self.probes.samples,
            kind=self.recipe.similarity,
            pairs=self.pairs,
        )
        self.stages.timed("compare", started)
        return rows, kept


def _first_problem(rows: Sequence[Acquired]) -> str:
    row = next(row for row in rows if row.status != "ok")
    return row.message or f"no face was found in {row.sample.sample_id} (and {len(rows) - 1} others)."


def _some(names: set[str | None] | set[str]) -> str:
    ordered = sorted(str(name) for name in names)
    return ", ".join(ordered[:3]) + (", ..." if len(ordered) > 3 else "")
