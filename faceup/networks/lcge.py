"""The convolutional half of LCGE, learning to hallucinate via component generation and enhancement (IJCAI 2017).

Reimplemented from the abstract and the poster: five small networks, one for each facial component (eyes, eyebrows,
nose, mouth) and one for the rest, repair a bicubic enlargement, each where its component is. The authors published
neither depth nor width nor weights; the networks here are SRCNN's three layers with a skip. The other half, detail
taken from real faces, is `faceup.sr._exemplars`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor, nn

from faceup.errors import ConfigError
from faceup.networks._common import bicubic, configured, filled

# In the order of the component weights; the rest has what these leave.
COMPONENTS = ("eyes", "brows", "nose", "mouth")
Ellipses = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True, slots=True)
class LcgeConfig:
    """The five networks, where the components are, and how detail is taken from the bank.

    None of these numbers was published. Places are pixels of the 112 x 112 template of aligned faces.

    Attributes:
        wide: channels after the 9 x 9 layer (SRCNN: 64).
        narrow: channels after the first 5 x 5 layer (SRCNN: 32).
        scale: at least 2.
        eyes: ellipses, each centre x, y and half-axes x, y.
        brows: likewise.
        nose: likewise.
        mouth: likewise.
        feather: up to which share of the half-axes a component has a pixel whole, and from which on nothing of it.
        inner: left, top and side of the square that holds all components.
        zoom: how many times the template is enlarged where patches are compared.
        patch: side of a patch in pixels of the enlarged template.
        stride: between patches.
        reach: up to so many strides away from their own place patches are compared.
        neighbours: how many of the nearest patches write a patch.
        ridge: regularisation of their weights, as a share of the trace.
        fine: sigma of the Gaussian that parts coarse from fine, in LR pixels.
    """

    wide: int = 64
    narrow: int = 32
    scale: int = 4
    eyes: Ellipses = ((38.3, 51.7, 12.0, 7.0), (73.5, 51.5, 12.0, 7.0))
    brows: Ellipses = ((38.3, 40.0, 14.0, 5.0), (73.5, 39.8, 14.0, 5.0))
    nose: Ellipses = ((56.0, 66.0, 10.0, 15.0),)
    mouth: Ellipses = ((56.1, 92.3, 20.0, 10.0),)
    feather: tuple[float, float] = (0.8, 1.2)
    inner: tuple[float, float, float] = (20.0, 30.0, 76.0)
    zoom: float = 1.25
    patch: int = 7
    stride: int = 3
    reach: int = 1
    neighbours: int = 5
    ridge: float = 1e-3
    fine: float = 0.5

    def __post_init__(self) -> None:
        for name in COMPONENTS:
            object.__setattr__(self, name, tuple(tuple(ellipse) for ellipse in getattr(self, name)))
            if any(len(ellipse) != 4 or min(ellipse[2:]) <= 0 for ellipse in getattr(self, name)):
                raise ConfigError(f"LCGE {name} must be ellipses of centre x, y and positive half-axes x, y.")
        for name in ("feather", "inner"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        whole_numbers = (self.wide, self.narrow, self.patch, self.stride, self.neighbours)
        if min(whole_numbers) < 1 or self.scale < 2 or self.reach < 0 or self.grid < self.patch:
            raise ConfigError(
                "LCGE needs wide, narrow, patch, stride and neighbours of at least 1, reach of at least 0, a scale of "
                f"at least 2 and an inner square larger than a patch, got {self.as_dict()}."
            )
        if not 0 <= self.feather[0] < self.feather[1] or min(self.ridge, self.fine) <= 0:
            raise ConfigError(f"LCGE needs a rising feather, positive ridge and fine, got {self.as_dict()}.")

    @property
    def grid(self) -> int:
        """Side of the enlarged inner square in pixels."""
        return int(self.inner[2] * self.zoom)

    @property
    def ellipses(self) -> tuple[Ellipses, ...]:
        """The ellipses of all components, in their order."""
        return tuple(getattr(self, name) for name in COMPONENTS)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return asdict(self)


def _branch(config: LcgeConfig) -> nn.Sequential:
    layers = nn.Sequential(
        nn.Conv2d(3, config.wide, 9, padding=4),
        nn.ReLU(),
        nn.Conv2d(config.wide, config.narrow, 5, padding=2),
        nn.ReLU(),
        nn.Conv2d(config.narrow, 3, 5, padding=2),
    )
    last = layers[4]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    # The training starts at the bicubic enlargement.
    nn.init.normal_(last.weight, 0.0, 0.001)
    nn.init.zeros_(last.bias)
    return layers


class Lcge(nn.Module):
    """The five networks and their blend.

    Input: float (N, 3, H, W), RGB, 0..255, the LR picture, and float (N, 4, sH, sW), 0..1, how much each of
    `COMPONENTS` has of a pixel of the output; without it the picture is taken as one without a face. Output: float
    (N, 3, sH, sW), RGB, about 0..255, neither clamped nor rounded.
    """

    def __init__(self, config: LcgeConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or LcgeConfig()
        self.rest = _branch(config)
        self.components = nn.ModuleList(_branch(config) for _ in COMPONENTS)

    def forward(self, x: Tensor, weights: Tensor | None = None) -> Tensor:
        smooth = bicubic(x, self.config.scale)
        centred = smooth / 127.5 - 1
        change = self.rest(centred)
        if weights is not None:
            change = change * (1 - weights.sum(dim=1, keepdim=True))
            for k, branch in enumerate(self.components):
                change = change + branch(centred) * weights[:, k : k + 1]
        out: Tensor = smooth + change * 127.5
        return out


def load_lcge(state: Mapping[str, Tensor], config: LcgeConfig | None = None) -> Lcge:
    """Build the five networks from weights of `faceup train`; no other exist.

    Args:
        state: key to tensor.
        config: the shape, which the file of a training carries.

    Raises:
        WeightsError: there is no configuration, or keys or shapes do not fit it.
    """
    config = configured(config, "LCGE")
    return filled(Lcge(config), state, config)


def build(options: Mapping[str, Any], scale: int) -> Lcge:
    """Build untrained networks for `faceup train`."""
    return Lcge(LcgeConfig(**options, scale=scale))
