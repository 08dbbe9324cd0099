"""Tables of a publication as recipes: what to measure, and the published numbers to stand beside ours.

    name: table3
    source: SISN (ACM MM 2021), table 3
    scales: [4, 8]
    size: 256
    rows:
      - {name: Bicubic, sr: bicubic, x4: {psnr: 29.82, ssim: 0.8459}, x8: {psnr: 25.99}}

A row is measured at a scale where its backend has weights; elsewhere the published numbers stand alone. A weight file
of a row, `NAME:FILE`, is taken relative to the recipe; with several scales it is measured at those that the row names
(`x4: {}` is enough).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from faceup import registry
from faceup.errors import ConfigError, unknown_name
from faceup.evaluate_sr.measure import METRICS, evaluate_sr, summary


@dataclass(frozen=True, slots=True)
class QualityRecipe:
    """What `faceup evaluate-sr --recipe` does.

    Attributes:
        name: of the table.
        source: where the published numbers stand.
        rows: mappings with `name`, `sr` and, for each scale published, `xSCALE` with metrics.
        scales: to be measured, in the order of the table.
        size: originals are first reduced to this shorter side; 0 leaves them.
        crop: border pixels left out, or `paper`.
        channel: of PSNR and SSIM, `rgb` or `y`.
        metrics: of `METRICS`.
    """

    name: str
    source: str
    rows: tuple[dict[str, Any], ...]
    scales: tuple[int, ...] = (4,)
    size: int = 0
    crop: int | str = 0
    channel: str = "rgb"
    metrics: tuple[str, ...] = field(default=METRICS)

    def __post_init__(self) -> None:
        for key in ("rows", "scales", "metrics"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        if not self.scales or not self.rows:
            raise ConfigError(f"Recipe {self.name}: at least one scale and one row are needed.")
        published = {f"x{scale}" for scale in self.scales}
        for row in self.rows:
            if not isinstance(row, dict) or not {"name", "sr"} <= set(row) <= {"name", "sr", *published}:
                raise ConfigError(
                    f"Recipe {self.name}: a row has name, sr and any of {', '.join(sorted(published))}, got {row!r}."
                )
            name, file = registry.split_name(row["sr"])
            if name not in registry.names("sr"):
                raise unknown_name(f"SR backend of recipe {self.name}", name, registry.names("sr"))
            if file is not None and len(published) > 1 and not published & set(row):
                raise ConfigError(f"Recipe {self.name}, {row['name']}: a row with a file says for which scale: xSCALE.")
            for key in published & set(row):
                known = isinstance(row[key], dict) and set(row[key]) <= set(METRICS)
                if not known or not all(isinstance(value, (int, float)) for value in row[key].values()):
                    raise ConfigError(f"Recipe {self.name}, {row['name']}: {key} maps metrics to numbers.")


def measured_by(
    recipe: QualityRecipe,
    hr: str | PathLike[str],
    folder: Path,
    *,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> pd.DataFrame:
    """Measure what the recipe asks for.

    Args:
        recipe: the table.
        hr: folder or manifest of original pictures.
        folder: what weight files of the rows are relative to.
        device: `auto`, `cpu` or `cuda`.
        progress: called with the backend, pictures done, and pictures in all.

    Returns:
        One row per scale, row of the table and picture, as `evaluate_sr` returns them, with the row's `name` in front.

    Raises:
        ConfigError, DataError, WeightsError: as `evaluate_sr`.
    """
    frames = []
    for scale in recipe.scales:
        alone = registry.expanded([registry.ALL], scale)
        one = len(recipe.scales) == 1
        rows = [row for row in recipe.rows if (one or f"x{scale}" in row if ":" in row["sr"] else row["sr"] in alone)]
        labels = {row["name"]: _label(row["sr"], folder) for row in rows}
        if not labels:
            continue
        frame = evaluate_sr(
            hr,
            list(dict.fromkeys(labels.values())),
            scale=scale,
            size=recipe.size or None,
            crop=recipe.crop,
            channel=recipe.channel,
            metrics=recipe.metrics,
            device=device,
            progress=progress,
        )
        for name, label in labels.items():
            own = frame[frame["sr"] == label]
            frames.append(own.assign(name=name)[["name", *own.columns]])
    if not frames:
        raise ConfigError(
            f"Recipe {recipe.name}: none of its rows has weights at x{' or x'.join(map(str, recipe.scales))}."
        )
    return pd.concat(frames, ignore_index=True)


def _label(sr: str, folder: Path) -> str:
    name, file = registry.split_name(sr)
    return name if file is None else f"{name}:{folder / file}"


def compared(measured: pd.DataFrame, recipe: QualityRecipe) -> pd.DataFrame:
    """Return the table: one row per scale and row of the recipe, ours with 95 % intervals beside the published numbers.

    Args:
        measured: by `measured_by`.
        recipe: the table.

    Returns:
        Columns `scale,name,pictures` and for each metric `METRIC,METRIC_low,METRIC_high,METRIC_published`; NaN where
        nothing was measured or published.
    """
    rows = []
    for scale in recipe.scales:
        part = measured[measured["scale"] == scale]
        ours = {row["sr"]: row for row in summary(part.assign(sr=part["name"])).to_dict("records")}
        for row in recipe.rows:
            mean: Mapping[Any, Any] = ours.get(row["name"], {})
            entry: dict[str, Any] = {"scale": scale, "name": row["name"], "pictures": mean.get("pictures", 0)}
            for metric in recipe.metrics:
                for key in (metric, f"{metric}_low", f"{metric}_high"):
                    entry[key] = mean.get(key, np.nan)
                entry[f"{metric}_published"] = row.get(f"x{scale}", {}).get(metric, np.nan)
            rows.append(entry)
    return pd.DataFrame(rows)
