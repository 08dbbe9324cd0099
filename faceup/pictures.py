"""Pictures that a run keeps for its report, on disk and not in memory."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

import pandas as pd

from faceup.images import encode_png
from faceup.types import Image, Role

COLUMNS = ["sr", "role", "sample", "file", "generated"]


class PictureStore:
    """A temporary folder of PNG files and the list of what they show; both go when the store does."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="faceup-"))
        self._rows: list[dict[str, str | int]] = []
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def keep(self, sr: str, role: Role, sample: str, image: Image, *, generated: bool) -> None:
        """Write one picture; `generated` says that super-resolution invented pixels of it."""
        name = f"{len(self._rows):06d}.png"
        (self.folder / name).write_bytes(encode_png(image))
        self._rows.append({"sr": sr, "role": role, "sample": sample, "file": name, "generated": int(generated)})

    def table(self) -> pd.DataFrame:
        """Return one row per picture with the columns sr, role, sample, file and generated."""
        return pd.DataFrame(self._rows, columns=COLUMNS)
