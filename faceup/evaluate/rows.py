"""The rows of metrics.csv."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from faceup.metrics.bootstrap import Interval


@dataclass(frozen=True, slots=True)
class Row:
    """One number with everything that is needed to read it.

    Attributes:
        system: which SR system, of which run where there are several.
        part: `all`, or `test` for rates at a threshold that was chosen on the development half.
        stratum: `all`, or what the probes have in common, as `distance = 1`.
        metric: its name, as docs/conventions.md explains it.
        at: the operating point, e.g. `FMR 0.01` (what the threshold was chosen for), empty where there is none.
        value: the estimate.
        low: lower end of the interval, NaN without.
        high: upper end.
        method: of the interval: `bca`, `percentile` or `none`.
        count: the numerator where the metric is a rate, else NaN.
        total: the denominator, or how many numbers were averaged.
        people: over how many people the interval is.
        note: what to know, e.g. that no error was seen.
    """

    system: str
    part: str
    stratum: str
    metric: str
    at: str
    value: float
    low: float
    high: float
    method: str
    count: float
    total: float
    people: int
    note: str = ""


COLUMNS = tuple(Row.__slots__)


def row(
    system: str,
    metric: str,
    interval: Interval,
    *,
    part: str = "all",
    stratum: str = "all",
    at: str = "",
    count: float = float("nan"),
    total: float = float("nan"),
    people: int,
    note: str = "",
) -> Row:
    """Return a row from an interval."""
    numbers = (interval.estimate, interval.low, interval.high)
    value, low, high = (round(v, 9) + 0.0 if np.isfinite(v) else v for v in numbers)
    return Row(system, part, stratum, metric, at, value, low, high, interval.method, count, total, people, note)


def frame(rows: list[Row]) -> pd.DataFrame:
    """Return rows as a frame in the columns of metrics.csv; counts are whole numbers."""
    out = pd.DataFrame([asdict(r) for r in rows], columns=list(COLUMNS))
    for column in ("count", "total"):
        out[column] = pd.array([pd.NA if np.isnan(v) else round(v) for v in out[column]], dtype="Int64")
    return out
