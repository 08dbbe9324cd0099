"""Which sources the library is built of. Read by `setup.py`, too, so it imports nothing of the project's."""

from __future__ import annotations

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent


def sources() -> list[Path]:
    """Return the files in C; a package that was built elsewhere comes without them."""
    return sorted(path for path in FOLDER.iterdir() if path.suffix in (".c", ".h"))


def digest() -> str:
    """Return one hash of all of them."""
    hashed = hashlib.sha256()
    for path in sources():
        hashed.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return hashed.hexdigest()
