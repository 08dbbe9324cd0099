"""The bank of LCGE: training faces as its networks make them and as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from faceup.errors import DataError
from faceup.files import whole_or_not_at_all
from faceup.networks.lcge import LcgeConfig, load_lcge
from faceup.sr._exemplars import luma, on_grid
from faceup.sr.lcge import BANK, generate
from faceup.train.data import PairSet
from faceup.types import Floats, Image


def add_bank(file: Path, pairs: PairSet, count: int) -> None:
    """Add the first `count` pictures that show one face to the weights in `file`.

    Args:
        file: weights of LCGE as the training wrote them.
        pairs: training pictures, read with their faces.
        count: of faces.

    Raises:
        DataError: there are fewer pictures with one face.
    """
    assert pairs.faces is not None
    chosen = faces_for_bank(pairs, count)
    with safe_open(file, "pt") as stream:
        metadata = stream.metadata()
    state = {key: value for key, value in load_file(file).items() if not key.startswith(BANK)}
    net = load_lcge(state, LcgeConfig(**json.loads(metadata["options"])))
    generated, real = [], []
    for n in chosen:
        matrices = pairs.faces[n]
        (made,) = generate(net, [Image(pairs.lr[n])], [matrices], torch.device("cpu"))
        generated.append(on_grid(luma(made.pixels), matrices[0], net.config))
        real.append(on_grid(luma(pairs.hr[n]), matrices[0], net.config))
    state |= {f"{BANK}generated": _bytes(generated), f"{BANK}real": _bytes(real)}
    with whole_or_not_at_all(file) as path:
        save_file(state, path, metadata=metadata)


def faces_for_bank(pairs: PairSet, count: int) -> list[int]:
    """Return the numbers of the first `count` pictures that show one face.

    Raises:
        DataError: there are fewer.
    """
    chosen = [n for n, faces in enumerate(pairs.faces or ()) if len(faces) == 1][:count]
    if len(chosen) < count:
        raise DataError(f"Only {len(chosen)} of {len(pairs)} training pictures show one face; {count} are wanted.")
    return chosen


def _bytes(faces: list[Floats]) -> torch.Tensor:
    return torch.from_numpy(np.clip(np.rint(np.stack(faces)), 0, 255).astype(np.uint8))
