"""The numbers of the simulator, all in one table: `PRESETS`.

What was measured, and by whom:

- Distance between the eyes: the medians of the annotated landmarks of the SCface database, 650 pictures a distance:
  10.1 px at distance 1 (4.20 m), 17.0 px at distance 2 (2.60 m), 30.4 px at distance 3 (1.00 m).
- Sizes of the crops (width x height): 75 x 100, 108 x 144 and 168 x 224 px, as SCface delivers them.
- `paper`: 42 x 56 px, the probe of section 4.5 of the SISN paper; it is smaller than any SCface crop, so it is taken to
  be a tighter cut out of a picture at distance 1, with that distance's eyes and that distance's degradation.
- `hard`: a fixed recipe by which recognisers were compared: the face box 94 px wide in a crop of 126 x 168 px around
  the face, Gaussian blur of sigma 2, reduced to 32 x 42 px by area averaging, Gaussian noise of sigma 6, JPEG 60. The
  two sides shrink by 3.94 and 4.00: the definition says so, and the simulator does not mend it.

What was chosen here, by eye, and fitted to no camera: how high the eyes sit in the crop and the strength of blur,
noise, JPEG and colour cast of `d1`, `d2`, `d3` and `paper`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Preset:
    """One distance of the camera, or one recipe; lengths are in pixels of the output unless they say otherwise.

    `eye_px` fixes the size of the face; where it is None, `face_px` does.

    Attributes:
        name: as given to `--distances`.
        suffix: how the output's name ends.
        width: of the output.
        height: of the output.
        eye_px: distance between the eyes in the output.
        eyes_height: where the middle between the eyes lies, 0 = upper edge, 1 = lower edge of the crop.
        blur_px: sigma of the Gaussian point spread of the optics.
        motion_px: longest streak of motion; each picture draws its own, from 0 to this, in any direction.
        noise_luma: sigma of the noise that all three channels share, grey levels of 0..255.
        noise_chroma: sigma of the noise of each of the two colour differences Cb and Cr.
        jpeg_quality: 1..95, chroma at half resolution.
        cast: whether the camera's colour and gamma cast is applied.
        face_px: width of the face box in pixels of the crop before it is reduced (`hard`).
        crop: width and height of that crop in pixels (`hard`).
        crop_blur: sigma of the blur in pixels of that crop (`hard`).
        noise_rgb: sigma of noise that is independent in R, G and B (`hard`).
    """

    name: str
    suffix: str
    width: int
    height: int
    jpeg_quality: int
    eye_px: float | None = None
    eyes_height: float = 0.42
    blur_px: float = 0.0
    motion_px: float = 0.0
    noise_luma: float = 0.0
    noise_chroma: float = 0.0
    cast: bool = True
    face_px: float = 0.0
    crop: tuple[int, int] = (0, 0)
    crop_blur: float = 0.0
    noise_rgb: float = 0.0


_TABLE = (
    Preset("d1", "1", 75, 100, 70, eye_px=10.1, blur_px=0.7, motion_px=0.8, noise_luma=5.0, noise_chroma=4.0),
    Preset("d2", "2", 108, 144, 75, eye_px=17.0, blur_px=0.7, motion_px=1.0, noise_luma=4.5, noise_chroma=3.5),
    Preset("d3", "3", 168, 224, 80, eye_px=30.4, blur_px=0.7, motion_px=1.2, noise_luma=4.0, noise_chroma=3.0),
    Preset("paper", "paper", 42, 56, 70, eye_px=10.1, blur_px=0.7, motion_px=0.8, noise_luma=5.0, noise_chroma=4.0),
    Preset("hard", "hard", 32, 42, 60, cast=False, face_px=94.0, crop=(126, 168), crop_blur=2.0, noise_rgb=6.0),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _TABLE})
