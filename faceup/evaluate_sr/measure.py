"""Reduce original pictures, enlarge them again with each SR backend, and measure what is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from faceup import registry
from faceup.errors import ConfigError, DataError, unknown_name
from faceup.images import read_image, reduced_pair, resize
from faceup.manifest import read_samples
from faceup.metrics.bootstrap import bootstrap_interval
from faceup.metrics.image_quality import CHANNELS, cropped, mps, psnr, ssim
from faceup.protocols import SrBackend
from faceup.runtime.device import pick_device
from faceup.types import Image, Sample
from faceup.weights.store import NotPulledError

if TYPE_CHECKING:
    from faceup.metrics.lpips import LpipsMetric

METRICS = ("psnr", "ssim", "lpips", "mps")

# A portion ends at this many pictures or at this many pixels of the originals, whichever comes first.
PORTION_PICTURES = 64
PORTION_PIXELS = 16_000_000


@dataclass(frozen=True, slots=True)
class Pair:
    """An original, as large as the enlarged picture will be, and its reduction."""

    sample: Sample
    original: Image
    low: Image


@dataclass(frozen=True, slots=True)
class Measures:
    """What is measured, and how.

    Attributes:
        metrics: of `METRICS`.
        channel: of which PSNR and SSIM are taken, `rgb` or `y`; LPIPS always sees RGB.
        border: pixels cut off each side before anything is measured.
        lpips: the metric, where LPIPS or MPS is among the metrics.
    """

    metrics: Sequence[str]
    channel: str
    border: int
    lpips: LpipsMetric | None

    def of(self, result: Image, original: Image) -> dict[str, float]:
        """Return the metrics of one picture."""
        result, original = cropped(result, self.border), cropped(original, self.border)
        found = {}
        if "psnr" in self.metrics:
            found["psnr"] = psnr(result, original, self.channel)
        if "ssim" in self.metrics or "mps" in self.metrics:
            found["ssim"] = ssim(result, original, self.channel)
        if self.lpips is not None:
            found["lpips"] = self.lpips(result, original)
        if "mps" in self.metrics:
            found["mps"] = mps(found["ssim"], found["lpips"])
        return {metric: found[metric] for metric in METRICS if metric in self.metrics}


def evaluate_sr(
    hr: str | PathLike[str],
    sr: Sequence[str],
    *,
    sr_options: Mapping[str, Mapping[str, Any]] | None = None,
    scale: int = 4,
    size: int | None = None,
    crop: int | str = 0,
    channel: str = "rgb",
    metrics: Sequence[str] = METRICS,
    lpips_trunk: Path | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> pd.DataFrame:
    """Measure SR backends on pictures reduced by antialiased bicubic (paper, section 4.1).

    Args:
        hr: folder or manifest of original pictures.
        sr: backends, `NAME`, `NAME:FILE` or `all` (bicubic and every backend with weights at this scale).
        sr_options: settings by backend name.
        scale: how many times the originals are reduced and enlarged again.
        size: if given, originals are first reduced so that their shorter side has this many pixels.
        crop: pixels cut off each side before measuring; `paper` is 6 + scale, as the paper's code validates.
        channel: of which PSNR and SSIM are taken, `rgb` or `y`.
        metrics: of `METRICS`.
        lpips_trunk: torchvision's AlexNet in the place of the catalogue's.
        device: `auto`, `cpu` or `cuda`.
        progress: called with the backend, pictures done, and pictures in all.

    Returns:
        One row per backend and picture, in the order of `sr`: `sr,picture,width,height,scale,channel,crop` and the
        metrics.

    Raises:
        ConfigError: a setting or backend is unknown, or a backend does not enlarge `scale` times.
        DataError: a picture cannot be read or measured; a mean over what happened to be readable would mislead.
        WeightsError: weights are missing; those of LPIPS are had by `faceup models pull lpips-alex`.
    """
    samples = read_samples(hr, "probe").samples
    place = pick_device(device)
    # Everything is built before anything is computed: a wrong name or missing weights cost no waiting.
    measures = _measures(scale, crop, channel, metrics, lpips_trunk, place)
    registry.check_options(sr_options or {})
    labels = [label for label in registry.expanded(sr, scale) if label != "none" or "none" in sr]
    backends = {label: _backend(label, scale, place, sr_options or {}) for label in labels}
    rows: dict[str, list[dict[str, Any]]] = {label: [] for label in backends}
    common = {"scale": scale, "channel": channel, "crop": measures.border}
    for portion in _portions(samples, scale, size):
        for label, backend in backends.items():
            results = backend.upscale([pair.low for pair in portion])
            for pair, result in zip(portion, results, strict=True):
                where = {"width": pair.original.width, "height": pair.original.height}
                try:
                    values = measures.of(result, pair.original)
                except DataError as error:
                    raise DataError(f"{pair.sample.sample_id}: {error}") from error
                rows[label].append({"sr": label, "picture": pair.sample.sample_id, **where, **common, **values})
            if progress is not None:
                progress(label, len(rows[label]), len(samples))
    return pd.DataFrame([row for of_backend in rows.values() for row in of_backend])


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Return one row per backend: the means with 95 % bootstrap intervals over pictures, and the number of pictures.

    An interval is NaN where a picture came out without any error, which makes its PSNR infinite.
    """
    rows = []
    for label, part in measured.groupby("sr", sort=False):
        row: dict[str, object] = {"sr": label, "pictures": len(part)}
        for metric in METRICS:
            if metric in part:
                finite = bool(np.isfinite(part[metric]).all())
                low, high = bootstrap_interval(part[metric]) if finite else (float("nan"), float("nan"))
                row |= {metric: float(part[metric].mean()), f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)


def _measures(
    scale: int, crop: int | str, channel: str, metrics: Sequence[str], lpips_trunk: Path | None, device: str
) -> Measures:
    for metric in metrics:
        if metric not in METRICS:
            raise unknown_name("metric", metric, METRICS)
    if not metrics:
        raise ConfigError(f"At least one metric is needed: {', '.join(METRICS)}.")
    if channel not in CHANNELS:
        raise unknown_name("channel", channel, CHANNELS)
    if crop != "paper" and (not isinstance(crop, int) or isinstance(crop, bool) or crop < 0):
        raise ConfigError(f"crop is a number of pixels or 'paper', got {crop!r}.")
    border = 6 + scale if crop == "paper" else int(crop)
    lpips = None
    if "lpips" in metrics or "mps" in metrics:
        from faceup.metrics.lpips import load_lpips

        try:
            lpips = load_lpips(device, lpips_trunk)
        except NotPulledError as error:
            raise NotPulledError(f"{error} (or measure without LPIPS: --metrics psnr,ssim)") from error
    return Measures(metrics, channel, border, lpips)


def _backend(label: str, scale: int, device: str, options: Mapping[str, Mapping[str, Any]]) -> SrBackend:
    name, file = registry.split_name(label)
    extra = dict(options.get(name, {}))
    backend: SrBackend = registry.build("sr", name, registry.Options(scale, device, file, extra))
    if backend.scale != scale:
        raise ConfigError(f"Backend {label!r} enlarges {backend.scale} times and cannot be measured at x{scale}.")
    return backend


def _portions(samples: Sequence[Sample], scale: int, size: int | None) -> Iterator[list[Pair]]:
    """Give the pictures in portions, so that memory does not grow with their number."""
    portion: list[Pair] = []
    pixels = 0
    for sample in samples:
        portion.append(_pair(sample, scale, size))
        pixels += portion[-1].original.width * portion[-1].original.height
        if len(portion) == PORTION_PICTURES or pixels >= PORTION_PIXELS:
            yield portion
            portion, pixels = [], 0
    if portion:
        yield portion


def _pair(sample: Sample, scale: int, size: int | None) -> Pair:
    original = read_image(sample.path)
    if size is not None and (shorter := min(original.width, original.height)) != size:
        if shorter < size:
            raise DataError(f"{sample.sample_id}: the shorter side has {shorter} px, fewer than {size}.")
        wide, high = (max(1, round(side * size / shorter)) for side in (original.width, original.height))
        original = resize(original, wide, high)
    return Pair(sample, *reduced_pair(original, scale))
