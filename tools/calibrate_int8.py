"""Find the ranges of features that the engine `int8` needs for the shipped SISN networks.

    PYTHONPATH=. python tools/calibrate_int8.py SHARED/data/faces256 [--names sisn-x4]

The pictures are the first `COUNT` by name, which are training pictures, reduced by antialiased bicubic as the networks
were trained. The ranges, the hash of the weights and that of the pictures go into faceup/weights/int8_ranges.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from faceup.images import read_image, reduced_pair
from faceup.networks.sisn import SisnConfig
from faceup.networks.sisn_int8 import find_ranges
from faceup.runtime.onnx_session import open_session
from faceup.sr.sisn import load_folded
from faceup.weights import store
from faceup.weights.int8 import FILE

ROOT = Path(__file__).resolve().parents[1]
COUNT = 32
Floats = npt.NDArray[np.float32]


def load(model: bytes) -> Callable[[Floats], list[Floats]]:
    """Return an ONNX model as a function that gives all its outputs."""
    session = open_session(model, "cpu")
    return lambda x: [np.asarray(out, np.float32) for out in session.run(None, {"x": x})]


def calibrated(name: str, paths: list[Path]) -> dict[str, object]:
    """Return the entry of one network."""
    loaded = store.load(name)
    config = SisnConfig(**json.loads(loaded.metadata["options"]))
    net = load_folded(loaded.tensors, config)
    seen = hashlib.sha256()
    pictures = []
    for path in paths:
        seen.update(path.read_bytes())
        pictures.append(reduced_pair(read_image(path), config.scale)[1].pixels)
    ranges = find_ranges(net, pictures, load)
    return {
        "sha256": loaded.sha256,
        "pictures": f"{len(paths)} training pictures, {paths[0].name} to {paths[-1].name}, reduced x{config.scale}",
        "pictures_sha256": seen.hexdigest(),
        "ranges": [[float(f"{low:.5g}"), float(f"{high:.5g}")] for low, high in ranges],
    }


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", type=Path, help="folder of training pictures")
    parser.add_argument("--names", nargs="+", default=["sisn-x4"], help="of the weight catalogue [sisn-x4]")
    given = parser.parse_args()
    paths = sorted(given.pictures.glob("*.jpg"))[:COUNT]
    if not paths:
        parser.error(f"no *.jpg in {given.pictures}")
    found = {name: calibrated(name, paths) for name in given.names}
    text = json.dumps(found, separators=(",", ":")).replace("],[", "],\n[").replace('"ranges":', '\n"ranges":\n')
    (ROOT / "faceup" / "weights" / FILE).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
