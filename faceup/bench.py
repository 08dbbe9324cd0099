"""What a machine does: crops a second of the SR backends, the detector and the recogniser."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from faceup import defaults, registry
from faceup.errors import ConfigError, DataError
from faceup.geometry import SIZE
from faceup.images import MAX_PIXELS, read_image, resize
from faceup.manifest import read_samples
from faceup.runtime.device import pick_device
from faceup.types import AlignedFace, Image

# Calls of a backend before those that are timed: on a GPU, graphs are made in the second.
UNTIMED = {"cpu": 1, "cuda": 2}


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """What is measured.

    Attributes:
        sr: SR backends, `NAME` or `NAME:FILE`.
        scale: how many times they enlarge.
        width: of the crops, in pixels.
        height: of the crops.
        batch: crops that are handed over in one call.
        device: `auto`, `cpu` or `cuda`.
        threads: CPU threads of torch; 0 leaves torch's own choice.
        engine: of the SR networks (`faceup.runtime.engine`); of the backends that `all` stands for, those that know no
            such setting run without it.
        rounds: timed calls, after those that are not timed (`UNTIMED`).
        crops: folder of pictures that are scaled to the size; without one the crops are made up and hold no face.
        detector: detection backend.
        recognizer: recognition backend, `NAME` or `NAME:FILE`.
    """

    sr: tuple[str, ...] = ("sisn",)
    scale: int = 4
    width: int = 42
    height: int = 56
    batch: int = 32
    device: str = "auto"
    threads: int = 0
    engine: str = "auto"
    rounds: int = 3
    crops: Path | None = None
    detector: str = "mtcnn"
    recognizer: str = defaults.RECOGNIZER

    def __post_init__(self) -> None:
        for key in ("scale", "width", "height", "batch", "rounds"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key} must be at least 1, got {getattr(self, key)}.")
        if self.width * self.height * self.scale**2 > MAX_PIXELS:
            raise ConfigError(
                f"Crops of {self.width} x {self.height} px enlarged {self.scale} times have more than the {MAX_PIXELS} "
                "px allowed for a picture: take a smaller size."
            )


@dataclass(frozen=True, slots=True)
class Rate:
    """Crops a second of one backend: median, slowest and fastest of the rounds.

    Attributes:
        stage: `sr`, `detect` or `embed`.
        backend: its label.
        engine: what runs an SR network (`torch`, `native`, `ncnn`, `int8`); `-` for a backend that does not say.
        seconds: of each round.
        median: crops a second.
        slowest: the same, of the slowest round.
        fastest: of the fastest one.
    """

    stage: str
    backend: str
    engine: str
    seconds: tuple[float, ...]
    median: float
    slowest: float
    fastest: float

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return {**asdict(self), "seconds": list(self.seconds)}


def bench(settings: BenchSettings) -> list[Rate]:
    """Measure one backend after the other, each on a batch of crops of one size.

    The detector gets the crops enlarged by bicubic interpolation, the recogniser the crops at its own size.

    Raises:
        ConfigError: an unknown backend, setting, engine or device.
        DataError: `crops` holds no readable picture.
        WeightsError: weights are missing or damaged.
    """
    import torch

    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = pick_device(settings.device)
    crops = _crops(settings)
    rates = []
    for label in registry.expanded(settings.sr, settings.scale):
        backend = _sr(label, settings, device)
        engine = getattr(backend, "engine", "-")
        rates.append(_rate("sr", label, engine, settings, lambda sr=backend: sr.upscale(crops)))  # type: ignore[misc]
    name, file = registry.split_name(settings.detector)
    detector = registry.build("detect", name, registry.Options(settings.scale, device, file))
    large = [resize(crop, crop.width * settings.scale, crop.height * settings.scale) for crop in crops]
    rates.append(_rate("detect", settings.detector, "-", settings, lambda: detector.detect(large)))
    name, file = registry.split_name(settings.recognizer)
    embedder = registry.build("embed", name, registry.Options(settings.scale, device, file))
    matrix = np.eye(2, 3, dtype=np.float32)
    faces = [AlignedFace(resize(crop, SIZE, SIZE).pixels, matrix) for crop in crops]
    rates.append(_rate("embed", settings.recognizer, "-", settings, lambda: embedder.embed(faces)))
    return rates


def _sr(label: str, settings: BenchSettings, device: str) -> Any:
    name, file = registry.split_name(label)
    plain = registry.Options(settings.scale, device, file)
    if settings.engine == "auto":
        return registry.build("sr", name, plain)
    if label not in settings.sr:  # one of those that `all` stands for; what runs by an engine says by which
        backend = registry.build("sr", name, plain)
        if not hasattr(backend, "engine"):
            return backend
    return registry.build("sr", name, replace(plain, extra={"engine": settings.engine}))


def _rate(stage: str, label: str, engine: str, settings: BenchSettings, call: Callable[[], object]) -> Rate:
    seconds = []
    untimed = UNTIMED[pick_device(settings.device)]
    for number in range(untimed + settings.rounds):
        begun = time.perf_counter()
        call()  # ends with arrays in memory, so a GPU has finished
        if number >= untimed:
            seconds.append(time.perf_counter() - begun)
    rates = [settings.batch / second for second in seconds]
    return Rate(stage, label, engine, tuple(seconds), statistics.median(rates), min(rates), max(rates))


def _crops(settings: BenchSettings) -> list[Image]:
    if settings.crops is not None:
        found = [read_image(sample.path) for sample in read_samples(settings.crops, "probe").samples[: settings.batch]]
        if not found:
            raise DataError(f"{settings.crops}: no picture in it.")
        sized = [resize(image, settings.width, settings.height) for image in found]
        return [sized[i % len(sized)] for i in range(settings.batch)]
    coarse = np.random.default_rng(0).integers(0, 256, (settings.batch, 7, 5, 3), dtype=np.uint8)
    return [resize(Image(pixels), settings.width, settings.height) for pixels in coarse]
