"""Reduce original pictures, enlarge them again with each SR backend, and measure what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike

import pandas as pd

from faceup import registry
from faceup.errors import ConfigError, DataError
from faceup.images import read_image, reduced_pair, resize
from faceup.manifest import read_samples
from faceup.metrics.image_quality import bootstrap_interval, psnr, ssim
from faceup.runtime.device import pick_device


def evaluate_sr(
    hr: str | PathLike[str],
    sr: Sequence[str],
    *,
    scale: int = 4,
    size: int | None = None,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> pd.DataFrame:
    """Measure SR backends on pictures reduced by antialiased bicubic (paper, section 4.1).

    Args:
        hr: folder or manifest of original pictures.
        sr: backends, `NAME` or `NAME:FILE`.
        scale: how many times the originals are reduced and enlarged again.
        size: if given, originals are first reduced so that their shorter side has this many pixels.
        device: `auto`, `cpu` or `cuda`.
        progress: called with the backend, pictures done, and pictures in all.

    Returns:
        One row per backend and picture: `sr,picture,width,height,psnr,ssim`.

    Raises:
        ConfigError: a backend is unknown or does not enlarge `scale` times.
        DataError: a picture cannot be read; a mean over what happened to be readable would mislead.
    """
    samples = read_samples(hr, "probe").samples
    rows = []
    for label in sr:
        name, file = registry.split_name(label)
        backend = registry.build("sr", name, registry.Options(scale, pick_device(device), file))
        if backend.scale != scale:
            raise ConfigError(f"Backend {label!r} enlarges {backend.scale} times and cannot be measured at x{scale}.")
        for done, sample in enumerate(samples, start=1):
            original = read_image(sample.path)
            if size is not None and (shorter := min(original.width, original.height)) != size:
                if shorter < size:
                    raise DataError(f"{sample.sample_id}: the shorter side has {shorter} px, fewer than {size}.")
                wide, high = (max(1, round(side * size / shorter)) for side in (original.width, original.height))
                original = resize(original, wide, high)
            target, low = reduced_pair(original, scale)
            (result,) = backend.upscale([low])
            row = {"sr": label, "picture": sample.sample_id, "width": target.width, "height": target.height}
            rows.append({**row, "psnr": psnr(result, target), "ssim": ssim(result, target)})
            if progress is not None:
                progress(label, done, len(samples))
    return pd.DataFrame(rows)


def summary(measured: pd.DataFrame) -> pd.DataFrame:
    """Return one row per backend: the means with 95 % bootstrap intervals over pictures, and the number of pictures."""
    rows = []
    for label, part in measured.groupby("sr", sort=False):
        row: dict[str, object] = {"sr": label, "pictures": len(part)}
        for metric in ("psnr", "ssim"):
            low, high = bootstrap_interval(part[metric])
            row |= {metric: float(part[metric].mean()), f"{metric}_low": low, f"{metric}_high": high}
        rows.append(row)
    return pd.DataFrame(rows)
