"""Pandas frames as CSV files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from faceup.files import csv_text


def write_csv(frame: pd.DataFrame, path: Path, *, decimals: int = 6) -> None:
    """Write a frame as CSV: UTF-8, fixed decimals, NaN as an empty cell, no cell that a spreadsheet would run."""
    safe = frame.copy()
    for column in safe.columns[[not pd.api.types.is_numeric_dtype(kind) for kind in safe.dtypes]]:
        # Few distinct texts repeat over many rows; each is treated once.
        safe[column] = safe[column].map({value: csv_text(str(value)) for value in safe[column].unique()})
    safe.to_csv(path, index=False, float_format=f"%.{decimals}f", lineterminator="\n", encoding="utf-8")
