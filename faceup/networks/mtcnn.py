"""The three networks of MTCNN (arXiv 1604.02878) with the weights of facenet-pytorch, laid out for speed.

They compute what facenet-pytorch's `PNet`, `RNet` and `ONet` compute, up to the last bits of the floats. What differs:

- Features are channels-last and some have unused channels: torch's kernels work on eight channels at a time, so that
  16 and 32 channels take less time than 10 and 28, and four input channels no more than three.
- Max pooling is done by comparing slices. torch's own also writes where each maximum was, which takes several times
  as long.
- Of the two numbers that a softmax would compare, the heads compute the difference.
- Inputs are grey levels less 127.5; the division by 128 is in the first weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faceup.networks._common import filled

# Channels of the input: red, green, blue and one that is not looked at.
INPUT_CHANNELS = 4
LANDMARKS = 5

Network = TypeVar("Network", bound=nn.Module)


def max_pool(x: Tensor, kernel: int) -> Tensor:
    """Return what `F.max_pool2d(x, kernel, stride=2, ceil_mode=True)` does, channels-last.

    Args:
        x: (N, C, H, W), H and W at least `kernel`.
        kernel: 2 or 3.
    """
    return _pooled(_pooled(x.permute(0, 2, 3, 1), 1, kernel), 2, kernel).permute(0, 3, 1, 2)


def _pooled(x: Tensor, axis: int, kernel: int) -> Tensor:
    before = (slice(None),) * axis
    size = (x.shape[axis] - kernel + 1) // 2 + 1
    parts = [x[(*before, slice(offset, offset + 2 * size - 1, 2))] for offset in range(kernel)]
    out = torch.empty_like(parts[0], memory_format=torch.contiguous_format)
    # At the border the last window may hold fewer than `kernel` values.
    both = (*before, slice(parts[1].shape[axis]))
    torch.maximum(parts[0][both], parts[1], out=out[both])
    if parts[1].shape[axis] < size:
        out[(*before, slice(size - 1, size))] = parts[0][(*before, slice(size - 1, size))]
    for part in parts[2:]:
        inside = out[(*before, slice(part.shape[axis]))]
        torch.maximum(inside, part, out=inside)
    return out


class ProposalNet(nn.Module):
    """P-Net: a face or not, at every second pixel, for windows of 12 x 12.

    Input: float (N, 4, H, W), H and W at least 12. Output: scores (N, h, w) on 0..1 and features (N, h, w, 32), of
    which `boxes` makes the corrections of a window's edges.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(INPUT_CHANNELS, 16, 3), nn.PReLU(16)
        self.conv2, self.prelu2 = nn.Conv2d(16, 16, 3), nn.PReLU(16)
        self.conv3, self.prelu3 = nn.Conv2d(16, 32, 3), nn.PReLU(32)
        self.face = nn.Conv2d(32, 1, 1)
        self.boxes = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = max_pool(self.prelu1(self.conv1(x)), 2)
        x = self.prelu3(self.conv3(self.prelu2(self.conv2(x))))
        return torch.sigmoid(self.face(x)[:, 0]), x.permute(0, 2, 3, 1)


class RefineNet(nn.Module):
    """R-Net: a face or not, for crops of 24 x 24.

    Input: float (N, 4, 24, 24). Output: scores (N,) on 0..1 and corrections of the box's edges (N, 4).
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(INPUT_CHANNELS, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 48, 3), nn.PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), nn.PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), nn.PReLU(128)
        self.heads = nn.Linear(128, 1 + 4)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = max_pool(self.prelu1(self.conv1(x)), 3)
        x = max_pool(self.prelu2(self.conv2(x)), 3)
        x = self.prelu3(self.conv3(x))
        x = self.heads(self.prelu4(self.dense4(x.permute(0, 2, 3, 1).flatten(1))))
        return torch.sigmoid(x[:, 0]), x[:, 1:]


class OutputNet(nn.Module):
    """O-Net: a face or not, and its landmarks, for crops of 48 x 48.

    Input: float (N, 4, 48, 48). Output: scores (N,) on 0..1, corrections of the box's edges (N, 4), and landmarks
    (N, 5, 2), x and y as shares of the box.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.prelu1 = nn.Conv2d(INPUT_CHANNELS, 32, 3), nn.PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), nn.PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), nn.PReLU(64)
        self.conv4, self.prelu4 = nn.Conv2d(64, 128, 2), nn.PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), nn.PReLU(256)
        self.heads = nn.Linear(256, 1 + 4 + 2 * LANDMARKS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = max_pool(self.prelu1(self.conv1(x)), 3)
        x = max_pool(self.prelu2(self.conv2(x)), 3)
        x = max_pool(self.prelu3(self.conv3(x)), 2)
        x = self.prelu4(self.conv4(x))
        x = self.heads(self.prelu5(self.dense5(x.permute(0, 2, 3, 1).flatten(1))))
        # The five x come first, then the five y.
        return torch.sigmoid(x[:, 0]), x[:, 1:5], x[:, 5:].unflatten(1, (2, LANDMARKS)).transpose(1, 2)


def load_proposal_net(state: Mapping[str, Tensor]) -> ProposalNet:
    """Build P-Net from the tensors of facenet-pytorch's `pnet.pt`.

    Raises:
        WeightsError: keys or shapes are not P-Net's.
    """
    new = _trunk(state)
    new |= {
        "face.weight": _difference(state["conv4_1.weight"]),
        "face.bias": _difference(state["conv4_1.bias"]),
        "boxes.weight": state["conv4_2.weight"].flatten(1),
        "boxes.bias": state["conv4_2.bias"],
    }
    return _filled(ProposalNet(), new)


def load_refine_net(state: Mapping[str, Tensor]) -> RefineNet:
    """Build R-Net from the tensors of facenet-pytorch's `rnet.pt`.

    Raises:
        WeightsError: keys or shapes are not R-Net's.
    """
    return _filled(RefineNet(), _trunk(state, "dense4.weight") | _heads(state, "dense5_1", "dense5_2"))


def load_output_net(state: Mapping[str, Tensor]) -> OutputNet:
    """Build O-Net from the tensors of facenet-pytorch's `onet.pt`.

    Raises:
        WeightsError: keys or shapes are not O-Net's.
    """
    return _filled(OutputNet(), _trunk(state, "dense5.weight") | _heads(state, "dense6_1", "dense6_2", "dense6_3"))


def _trunk(state: Mapping[str, Tensor], dense: str = "") -> dict[str, Tensor]:
    """Return the tensors below the heads; `dense` is the key of the first fully connected layer's weights."""
    new = {key: value for key, value in state.items() if "_" not in key}
    new["conv1.weight"] = new["conv1.weight"] / 128
    if dense:
        # There the features are flattened as columns, rows, channels; here as rows, columns, channels, as they lie.
        weight = new[dense]
        new[dense] = weight.unflatten(1, (3, 3, -1)).transpose(1, 2).flatten(1)
    return new


def _difference(two: Tensor) -> Tensor:
    # softmax((a, b))[1] = sigmoid(b - a)
    return two[1:] - two[:1]


def _heads(state: Mapping[str, Tensor], face: str, *others: str) -> dict[str, Tensor]:
    return {
        f"heads.{part}": torch.cat([_difference(state[f"{face}.{part}"]), *(state[f"{key}.{part}"] for key in others)])
        for part in ("weight", "bias")
    }


def _filled(net: Network, state: Mapping[str, Tensor]) -> Network:
    """Return `net` with these tensors, zeros where it is wider than they are."""
    wide = net.state_dict()
    padded = {}
    for key, value in state.items():
        missing = [w - v for w, v in zip(wide[key].shape, value.shape, strict=True)] if key in wide else []
        padded[key] = F.pad(value, [n for m in reversed(missing) for n in (0, m)])
    return filled(net, padded, type(net).__name__).requires_grad_(False).to(memory_format=torch.channels_last)
