"""A folder of high-definition pictures to a folder of surveillance crops with a table of what was done to each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from faceup.detect import chosen_face
from faceup.errors import ConfigError, DataError, unknown_name
from faceup.files import refuse_existing, sha256_hex, shown, whole_folder
from faceup.images import decode, read_bytes
from faceup.manifest import name_parts, read_samples
from faceup.protocols import Detector
from faceup.registry import Options, build
from faceup.runtime.device import pick_device
from faceup.simulate.camera import camera_cast, encode_jpeg, frame, generator, shoot
from faceup.simulate.presets import PRESETS, Preset
from faceup.simulate.table import TABLE, Row, SimulationSummary, listed_outputs, write_table
from faceup.types import Floats, Image, Sample

DETECTOR = "mtcnn"
# What the detector says is rounded to this fraction of a pixel. It is no more exact than that, and processors differ in
# its last digits, which would change a pixel here and there and with it the bytes of a JPEG.
STEP = 1 / 8


@dataclass(frozen=True, slots=True, eq=False)
class _Face:
    image: Image
    box: Floats
    landmarks: Floats


def simulate(
    source: Path,
    out: Path,
    *,
    distances: Sequence[str],
    seed: int = 0,
    cameras: int = 1,
    force: bool = False,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> SimulationSummary:
    """Make surveillance crops of every picture in a folder, one for each camera and distance.

    The crops are named as SCface names them, `<subject>_cam<camera>_<distance>.jpg`, and `simulation.csv` beside them
    says how each was made. Every crop has a random generator of its own, so no picture's result depends on the others,
    and the same call gives the same bytes again. `out` appears whole or not at all.

    The second picture of a subject and those after it, counted in the order of the sorted paths whether or not they
    have a face, get `-2`, `-3` and so on at the end of the name. A new picture can change these numbers, never a pixel.

    Args:
        source: folder of high-definition pictures; subjects as `faceup.manifest` tells them.
        out: folder to make.
        distances: names of `PRESETS`.
        seed: of everything random.
        cameras: how many cameras, numbered from 1, each with its own tint.
        force: replace `out` if it is the result of an earlier simulation and holds nothing else.
        device: `auto`, `cpu` or `cuda`, where the face detector runs.
        progress: called after every picture with the number done and the number of all.

    Raises:
        ConfigError: an unknown or repeated distance, none at all, fewer than one camera, or an unusable device.
        DataError: no pictures, or `out` exists and may not be replaced, or one folder lies inside the other.
    """
    presets = _presets(distances)
    if cameras < 1:
        raise ConfigError(f"Cameras must be at least 1, got {cameras}.")
    device = pick_device(device)
    source, out = Path(source), Path(out)
    if not os.path.isdir(source):  # noqa: PTH112 - Path.is_dir raises where a folder above may not be entered
        raise DataError(f"{shown(source)}: not a folder that can be opened; give a folder of high-definition pictures.")
    _refuse_nested(source, out)
    with whole_folder(out, lambda existing: _refuse_existing(existing, force=force)) as folder:
        listing = read_samples(source, "gallery")
        detector: Detector = build("detect", DETECTOR, Options(device=device))
        rows: list[Row] = []
        for done, (sample, number) in enumerate(_numbered(listing.samples), start=1):
            found = _find_face(sample, detector)
            for camera in range(1, cameras + 1):
                for preset in presets:
                    rows.append(_take(sample, number, found, preset, camera, seed, folder))
            if progress is not None:
                progress(done, len(listing.samples))
        write_table(folder, rows)
    return SimulationSummary(out, tuple(rows), listing.ignored)


def _presets(distances: Sequence[str]) -> list[Preset]:
    known = ", ".join(PRESETS)
    if isinstance(distances, str) or not distances:
        raise ConfigError(f"Give at least one distance, as a list of names; known: {known}.")
    for name in distances:
        if name not in PRESETS:
            raise unknown_name("distance", name, PRESETS)
    if len(set(distances)) != len(distances):
        raise ConfigError(f"A distance is named twice: {', '.join(distances)}; name each once.")
    return [PRESETS[name] for name in distances]


def _refuse_existing(out: Path, *, force: bool) -> None:
    """Raise DataError if `out` exists and `force` is not set, or if it holds something that no simulation wrote."""

    @cache
    def ours() -> set[str]:
        return {TABLE, *listed_outputs(out)}

    refuse_existing(out, "`faceup simulate`", TABLE, lambda name: name in ours(), force=force)


def _refuse_nested(source: Path, out: Path) -> None:
    real_source, real_out = source.resolve(), out.resolve()
    if real_out.is_relative_to(real_source) or real_source.is_relative_to(real_out):
        raise DataError(
            f"{shown(out)}: one of the output and the source {shown(source)} lies inside the other; "
            "write to a folder beside the source."
        )


def _numbered(samples: Iterable[Sample]) -> Iterator[tuple[Sample, int]]:
    """Yield every picture with its number among those of its subject, counted whether or not it can be used."""
    seen: Counter[str] = Counter()
    for sample in samples:
        # Some file systems do not tell capitals from small letters: `Anna` must not overwrite `anna`.
        key = (sample.subject_id or "").casefold()
        seen[key] += 1
        yield sample, seen[key]


def _find_face(sample: Sample, detector: Detector) -> _Face | tuple[str, str]:
    """Return the face of a picture, or a status and a message."""
    try:
        image = decode(read_bytes(sample.path), sample.sample_id)
    except DataError as error:
        return "unreadable", str(error).replace(shown(sample.path), sample.sample_id)
    found = detector.detect([image])[0]
    index = chosen_face(found, image)
    if index is None:
        return "no_face", f"{DETECTOR} found no face in {image.width} x {image.height} px."
    box, landmarks = (np.round(points[index] / STEP) * STEP for points in (found.boxes, found.landmarks))
    return _Face(image, box, landmarks)


def _output_name(subject: str, camera: int, preset: Preset, number: int) -> str:
    """Return where a crop goes, such that `faceup.manifest` reads the same subject from it.

    A subject whose name would not survive the reading of `<subject>_cam1_1.jpg` (one with `_` or `.` in it, from the
    name of a sub-folder) keeps a sub-folder of its own, `<subject>/cam1_1.jpg`.
    """
    rest = f"cam{camera}_{preset.suffix}{f'-{number}' if number > 1 else ''}"
    stem = f"{subject}_{rest}"
    return f"{stem}.jpg" if name_parts(stem)[0] == subject else f"{subject}/{rest}.jpg"


def _take(
    sample: Sample,
    number: int,
    found: _Face | tuple[str, str],
    preset: Preset,
    camera: int,
    seed: int,
    folder: Path,
) -> Row:
    """Make one crop and write it, or return the row that says why there is none."""
    subject = sample.subject_id or ""
    crop_scale = preset.width / preset.crop[0] if preset.eye_px is None else 1.0

    def row(status: str, message: str = "", *, output: str = "", digest: str = "", **measured: float | None) -> Row:
        return Row(
            source=sample.sample_id,
            source_sha256=sample.sha256,
            output=output,
            output_sha256=digest,
            subject=subject,
            camera=camera,
            distance=preset.name,
            target_eye_px=preset.eye_px,
            achieved_eye_px=measured.get("eye_px"),
            width=preset.width,
            height=preset.height,
            outside=measured.get("outside"),
            blur_px=preset.blur_px + preset.crop_blur * crop_scale,
            motion_px=measured.get("motion_px"),
            motion_deg=measured.get("motion_deg"),
            noise_luma=preset.noise_luma,
            noise_chroma=preset.noise_chroma,
            noise_rgb=preset.noise_rgb,
            jpeg_quality=preset.jpeg_quality,
            seed=seed,
            status=status,
            message=message,
        )

    if isinstance(found, tuple):
        return row(*found)
    view = frame(preset, found.box, found.landmarks)
    if view.enlarges:
        return row(
            "too_small",
            f"The crop of {preset.width} x {preset.height} px covers only {view.width:.0f} x {view.height:.0f} px of "
            "the source; give a larger picture or a farther distance.",
        )
    rng = generator(seed, sample.sample_id, camera, preset.name)
    shot = shoot(found.image, view, preset, camera_cast(seed, camera), rng)
    data = encode_jpeg(shot.pixels, preset.jpeg_quality)
    name = _output_name(subject, camera, preset, number)
    target = folder / name
    try:
        target.parent.mkdir(exist_ok=True)
        # "x": a name that is taken already must never be overwritten in silence.
        with target.open("xb") as stream:
            stream.write(data)
    except OSError as error:
        raise DataError(f"{name}: cannot be written ({error.strerror or error}).") from error
    return row(
        "ok",
        output=name,
        digest=sha256_hex(data),
        eye_px=view.eye_px,
        outside=view.outside(found.image),
        motion_px=shot.motion_px,
        motion_deg=shot.motion_deg,
    )
