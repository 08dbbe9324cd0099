"""The hallucination alarm: does a super-resolved face still show who the low-resolution picture showed?

Four measures for each probe and SR system, each lower where more is invented:

- `cosine_lr`: cosine of the embeddings of the picture as it came and of the super-resolved one (identity drift);
- `cosine_bicubic`: the same from the bicubic enlargement, which adds no content;
- `agreement`: mean cosine with the other SR systems' embeddings (without the picture as it came);
- `consistency_psnr`: PSNR in dB of the super-resolved picture reduced again, against the picture as it came.

A probe is flagged where a measure lies below the calibrated limit of its eye distance. Limits are quantiles over
pictures whose identity was kept; they hold for the recogniser and scale they were measured with and for no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from faceup.errors import DataError
from faceup.images import resize
from faceup.metrics.face_quality import eye_distance_band
from faceup.metrics.image_quality import psnr
from faceup.types import Embeddings, Image

MEASURES = ("cosine_lr", "cosine_bicubic", "agreement", "consistency_psnr")
COLUMNS = ("sr", "probe", "eye_lr_px", *MEASURES, "flagged", "reasons", "unchecked")
# A picture that is reduced to exactly what came has an infinite PSNR; CSV files and means need a number.
HIGHEST_PSNR = 99.0


@dataclass(frozen=True, slots=True)
class Calibration:
    """The limits of the alarm and what they were measured on.

    Attributes:
        limits: band of eye distances to measure to limit.
        eye_edges: of the bands, in pixels of the picture as it came.
        recognizer: that the cosines belong to, as `faceup.record.recognizer_identity` tells it.
        scale: of the SR systems.
        source: what was measured, in words.
        systems: the SR systems that were measured; `agreement` means something else among others.
    """

    limits: Mapping[str, Mapping[str, float]]
    eye_edges: tuple[float, ...]
    recognizer: Mapping[str, Any]
    scale: int
    source: str
    systems: frozenset[str]

    @classmethod
    def parse(cls, content: Any) -> Calibration:
        """Return the calibration from the plain values of its JSON file.

        Raises:
            DataError: a field is missing or of the wrong kind.
        """
        try:
            limits = {
                str(band["eyes"]): {m: float(band["limits"][m]) for m in MEASURES if band["limits"].get(m) is not None}
                for band in content["bands"]
            }
            edges = tuple(float(edge) for edge in content["eye_edges"])
            systems = frozenset(str(label) for label in content["systems"])
            recognizer = dict(content["recognizer"])
            return cls(limits, edges, recognizer, int(content["scale"]), str(content["source"]), systems)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"The calibration of the alarm is damaged ({error!r}); make it again.") from error


def checked(unchecked: str) -> bool:
    """Tell of a cell of the column `unchecked` whether any measure was checked.

    >>> checked("agreement"), checked(" ".join(MEASURES))
    (True, False)
    """
    return len(unchecked.split()) < len(MEASURES)


def reduced_psnr(enlarged: Image, original: Image) -> float:
    """Return the PSNR in dB of a super-resolved picture reduced (antialiased bicubic) to its original, at most 99.

    >>> same = Image(np.full((4, 4, 3), 7, np.uint8))
    >>> reduced_psnr(Image(np.full((16, 16, 3), 7, np.uint8)), same)
    99.0
    """
    return min(HIGHEST_PSNR, psnr(resize(enlarged, original.width, original.height), original))


def measures(
    embeddings: Mapping[str, Embeddings], consistency: Mapping[tuple[str, str], float], eyes: Mapping[str, float]
) -> pd.DataFrame:
    """Return the four measures of every probe and SR system but `none`, NaN where one could not be taken.

    Args:
        embeddings: of the probes by label of the SR system; `none` and `bicubic` are the references where present.
        consistency: PSNR in dB by label and probe.
        eyes: eye distance by probe, in pixels of the picture as it came; a probe without one is NaN.
    """
    frames = []
    for label, own in embeddings.items():
        if label == "none":
            continue
        others = [_cosines(own, other) for name, other in embeddings.items() if name not in ("none", label)]
        nothing = np.full(len(own.sample_ids), np.nan)
        frames.append(
            pd.DataFrame(
                {
                    "sr": label,
                    "probe": list(own.sample_ids),
                    "eye_lr_px": [eyes.get(probe, float("nan")) for probe in own.sample_ids],
                    "cosine_lr": _cosines(own, embeddings["none"]) if "none" in embeddings else nothing,
                    "cosine_bicubic": _cosines(own, embeddings["bicubic"])
                    if "bicubic" in embeddings and label != "bicubic"
                    else nothing,
                    "agreement": _mean_known(others) if others else nothing,
                    "consistency_psnr": [consistency.get((label, probe), float("nan")) for probe in own.sample_ids],
                }
            )
        )
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=list(COLUMNS[:7]))


def _cosines(first: Embeddings, second: Embeddings) -> np.ndarray:
    return np.einsum("ij,ij->i", first.vectors.astype(np.float64), second.vectors.astype(np.float64))


def _mean_known(rows: list[np.ndarray]) -> np.ndarray:
    stacked = np.stack(rows)
    known = ~np.isnan(stacked)
    counts = known.sum(axis=0)
    return np.where(counts > 0, np.where(known, stacked, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)


def flagged(
    measured: pd.DataFrame, calibration: Calibration, *, recognizer: Mapping[str, Any], scale: int
) -> pd.DataFrame:
    """Return the measures with the columns `flagged` (0 or 1), `reasons` and `unchecked`.

    `reasons` names the measures below their limits, `unchecked` those without a value or without a limit. A probe of
    which nothing could be checked is not flagged, and `unchecked` says so: no flag is no clearance.

    Args:
        measured: of `measures`.
        calibration: the limits; other SR systems in it than in the run leave `agreement` unchecked.
        recognizer: of the run; another than the calibration's, or other weights, leaves the cosines unchecked.
        scale: of the run; another than the calibration's leaves everything unchecked.
    """
    out = measured.copy()
    reasons, unchecked = [], []
    same_systems = set(measured["sr"]) == calibration.systems
    for row in measured.to_dict("records"):
        limits = calibration.limits.get(eye_distance_band(row["eye_lr_px"], calibration.eye_edges), {})
        below, open_questions = [], []
        for measure in MEASURES:
            fits = scale == calibration.scale and (
                measure == "consistency_psnr" or recognizer == calibration.recognizer
            )
            fits = fits and (measure != "agreement" or same_systems)
            if not fits or measure not in limits or np.isnan(row[measure]):
                open_questions.append(measure)
            elif row[measure] < limits[measure]:
                below.append(measure)
        reasons.append(" ".join(below))
        unchecked.append(" ".join(open_questions))
    out["flagged"] = [int(bool(reason)) for reason in reasons]
    out["reasons"], out["unchecked"] = reasons, unchecked
    return out
