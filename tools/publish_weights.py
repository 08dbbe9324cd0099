"""Put the result of `faceup train` into the package: weights, catalogue entry and the record of the training.

    PYTHONPATH=. python tools/publish_weights.py trainings/sisn-x4 sisn-x4

The catalogue must have an entry of that name already (licence and training data are for a person to write); its size
and sha256 are set here. training.json and curves.csv go to docs/models/NAME/.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from faceup.errors import ConfigError
from faceup.files import sha256_hex, whole_or_not_at_all

ROOT = Path(__file__).resolve().parents[1]
CATALOG = ROOT / "faceup" / "weights" / "catalog.yaml"
RECORD = ("training.json", "curves.csv")


def publish(training: Path, name: str) -> str:
    """Copy the files, set size and sha256, and return the sha256.

    Raises:
        ConfigError: the catalogue has no entry of that name, or the training has no record.
    """
    data = (training / "weights.safetensors").read_bytes()
    entry = re.compile(rf"^({re.escape(name)}:\n(?:  .*\n)*?)  sha256: .*\n  bytes: .*\n", re.MULTILINE)
    text, found = entry.subn(
        rf"\g<1>  sha256: {sha256_hex(data)}\n  bytes: {len(data)}\n", CATALOG.read_text(encoding="utf-8")
    )
    if found != 1:
        raise ConfigError(f"{CATALOG.name} has no entry {name!r} with sha256 and bytes: write one first.")
    if missing := [file for file in RECORD if not (training / file).is_file()]:
        raise ConfigError(f"{training} lacks {', '.join(missing)}: publish a training that ended.")
    with whole_or_not_at_all(CATALOG.parent / "files" / f"{name}.safetensors") as path:
        path.write_bytes(data)
    with whole_or_not_at_all(CATALOG) as path:
        path.write_text(text, encoding="utf-8")
    record = ROOT / "docs" / "models" / name
    record.mkdir(parents=True, exist_ok=True)
    for file in RECORD:
        shutil.copyfile(training / file, record / file)
    return sha256_hex(data)


if __name__ == "__main__":
    print(publish(Path(sys.argv[1]), sys.argv[2]))
