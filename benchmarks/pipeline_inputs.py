"""Gallery, probes and weights that all systems of `bench_pipeline` get."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.method import ROOT, SEED
from faceup.images import at_most, encode_png, read_image
from faceup.networks.sisn import Sisn, SisnConfig

GALLERY_SIDE = 384
SMALL, CROPS = ("paper",), ("d1", "d2", "d3")


@dataclass(frozen=True, slots=True)
class Inputs:
    """Folders of pictures named after their subjects, `<subject>_...`.

    Attributes:
        gallery: one photo a person, longer side at most 384 px.
        small: probes of 42 x 56 px.
        crops: probes of other sizes.
        about: what they are, in words.
    """

    gallery: Path
    small: Path
    crops: Path
    about: str

    def files(self) -> list[Path]:
        """Return all pictures, sorted."""
        return [path for folder in (self.gallery, self.small, self.crops) for path in pictures(folder)]


def pictures(folder: Path) -> list[Path]:
    """Return the pictures of a folder, sorted."""
    return sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png"))


def subject(path: Path) -> str:
    """Return whose face a picture shows."""
    return path.stem.split("_")[0]


def london(shared: Path, people: int, folder: Path) -> Inputs:
    """Return neutral photos of the Face Research Lab London Set and simulated crops of the smiling ones."""
    from faceup.simulate import simulate

    sides = {name: shared / "data" / "london" / name for name in ("neutral", "smiling")}
    names = [path.name for path in pictures(sides["neutral"]) if (sides["smiling"] / path.name).is_file()][:people]
    for name in ("gallery", "smiling"):
        (folder / name).mkdir()
    for name in names:
        _reduced(sides["neutral"] / name, folder / "gallery")
        shutil.copyfile(sides["smiling"] / name, folder / "smiling" / name)
    for name, distances in (("small", SMALL), ("crops", CROPS)):
        simulate(folder / "smiling", folder / name, distances=distances, seed=SEED)
    about = (
        f"gallery: neutral photos of {len(names)} people of the Face Research Lab London Set at {GALLERY_SIDE} px; "
        f"probes: their smiling photos through `faceup simulate`, {', '.join(SMALL)} with SISN, "
        f"{', '.join(CROPS)} without"
    )
    return Inputs(folder / "gallery", folder / "small", folder / "crops", about)


def examples(repeats: int, folder: Path) -> Inputs:
    """Return the pictures of examples/, each probe several times."""
    for name in ("gallery", "small", "crops"):
        (folder / name).mkdir()
    for path in pictures(ROOT / "examples" / "gallery"):
        _reduced(path, folder / "gallery")
    for path in pictures(ROOT / "examples" / "probes"):
        side = "small" if "_paper" in path.stem else "crops"
        for i in range(repeats):
            shutil.copyfile(path, folder / side / f"{path.stem}-{i}{path.suffix}")
    about = (
        f"the 4 gallery pictures of examples/ at {GALLERY_SIDE} px and its probes, {repeats} times: too few for rank-1"
    )
    return Inputs(folder / "gallery", folder / "small", folder / "crops", about)


def _reduced(path: Path, folder: Path) -> None:
    picture = at_most(read_image(path), GALLERY_SIDE)
    (folder / f"{path.stem.split('_')[0]}_frontal.png").write_bytes(encode_png(picture))


def full_sisn(path: Path, config: SisnConfig | None = None) -> Path:
    """Write seeded weights of the published size, 10 groups of 10 blocks of 64 channels, and return the path.

    No official checkpoint can be shipped. The time does not depend on the weights, but what comes after does: a network
    of noise would leave no face to find. So it has the bicubic skip, and its last convolution is scaled until it adds
    about one grey level to noise.
    """
    torch.manual_seed(SEED)
    config = config or SisnConfig(skip="bicubic")
    net = Sisn(config).eval()
    last = net.tail[1]
    assert isinstance(last, torch.nn.Conv2d)
    assert last.bias is not None
    with torch.inference_mode():
        grey = torch.full((1, 3, 8, 8), 128.0) + 40 * torch.randn(1, 3, 8, 8)
        coarse = net.head(net.sub_mean(grey).repeat(1, config.scale**2, 1, 1))
        added = net.tail(net.body(coarse) + coarse)
        last.weight /= added.std()
        last.bias.zero_()
    save_file(net.state_dict(), path, metadata={"network": "sisn", "options": json.dumps(config.as_dict())})
    return path
