"""What a batch job does: the settings that decide about faces, and those that only decide about the results."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any

from faceup import defaults, registry
from faceup.errors import ConfigError
from faceup.gallery.model import model_of
from faceup.record import backend_entry
from faceup.runtime.engine import engines

# Changes whenever the same unit may give other faces though settings, plug-ins and weights are the same.
FACES_VERSION = 1


@dataclass(frozen=True, slots=True)
class FaceSettings:
    """How faces are found and embedded; a change makes every unit new.

    Attributes:
        sr: SR backend for small faces, `NAME` or `NAME:FILE`; `none` for none.
        sr_options: its settings.
        scale: how many times it enlarges.
        detector: detection backend.
        detector_options: its settings, e.g. `min_face_size` in pixels.
        recognizer: recognition backend, `NAME` or `NAME:FILE`.
        recognizer_options: its settings.
        small_eye_px: a face whose eyes are less than so many pixels apart is super-resolved before it is embedded.
        crop_side: a picture whose longer side is at most this is super-resolved whole when no larger face is found.
        margin: what is added to each side of a face's box before it is cut out, in lengths of its longer side.
        device: `cpu` or `cuda`, already decided.
        threads: CPU threads of torch in each worker; another number changes the last digits.
    """

    sr: str = defaults.ARCHIVE_SR
    sr_options: dict[str, Any] = field(default_factory=dict)
    scale: int = 4
    detector: str = "mtcnn"
    detector_options: dict[str, Any] = field(default_factory=dict)
    recognizer: str = defaults.RECOGNIZER
    recognizer_options: dict[str, Any] = field(default_factory=dict)
    small_eye_px: float = 40.0
    crop_side: int = 256
    margin: float = 0.5
    device: str = "cpu"
    threads: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.small_eye_px < math.inf or not 0 <= self.margin <= 4:
            raise ConfigError("small_eye_px must be at least 0, and margin between 0 and 4.")
        if self.scale < 1 or self.threads < 1 or self.crop_side < 0:
            raise ConfigError("scale and threads must be at least 1, crop_side at least 0.")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class ResultSettings:
    """How faces become appearances; a change only makes the results again.

    Attributes:
        top: candidates per appearance.
        threshold: cosine from which a candidate is marked; None marks none.
        fmr: the threshold's false match rate, as the user measured it; only printed.
        max_gap_s: a tracklet ends when its face was not seen for so many seconds.
        embeddings: whether faces.parquet holds the embeddings.
    """

    top: int = 1
    threshold: float | None = None
    fmr: float | None = None
    max_gap_s: float = 2.0
    embeddings: bool = False

    def __post_init__(self) -> None:
        if self.top < 1 or not self.max_gap_s >= 0:
            raise ConfigError("top must be at least 1, and the gap at least 0 seconds.")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ConfigError(f"A threshold is a cosine between -1 and 1, got {self.threshold}.")
        if self.fmr is not None and (self.threshold is None or not 0 <= self.fmr <= 1):
            raise ConfigError("A false match rate lies between 0 and 1 and needs the threshold it belongs to.")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain values, ready for JSON."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True, slots=True)
class Every:
    """Which frames of a video are searched: one every so many seconds, or every so many frames.

    Attributes:
        seconds: the first frame of each interval of this length; None to count frames.
        frames: every so many frames, from the first.
    """

    seconds: Fraction | None = None
    frames: int = 1


def parse_every(text: str) -> Every:
    """Read `0.2s` or `5`.

    Raises:
        ConfigError: neither.
    """
    if match := re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)s", text):
        if seconds := Fraction(match[1]):
            return Every(seconds=seconds)
    elif re.fullmatch(r"\d+", text) and int(text) > 0:
        return Every(frames=int(text))
    raise ConfigError(f"--every is seconds such as 0.2s, or a number of frames such as 5; got {text!r}.")


def faces_identity(settings: FaceSettings) -> dict[str, Any]:
    """Return everything but the inputs that faces depend on, ready for JSON: settings, plug-in versions, weight
    hashes, and the engines of SR network and detector.

    Raises:
        ConfigError: there is no such backend.
        WeightsError: a weight file is missing or damaged.
    """
    backends: list[list[Any]] = []
    for stage, label in (("sr", settings.sr), ("detect", settings.detector)):
        name, file = registry.split_name(label)
        info = registry.info(stage, name)  # type: ignore[arg-type]
        entry = backend_entry(stage, label, info, file, settings.scale)
        backends.append([stage, name, entry["version"], [weight["sha256"] for weight in entry["weights"]]])
        if entry["weights"]:
            # Engines differ by a grey level or in the last digits; `auto` is others once one more was installed.
            if stage == "sr":
                backends[-1].append(engines(settings.sr_options.get("engine", "auto"), settings.device))
            else:
                backends[-1].append([name for name in engines("auto", settings.device) if name != "ncnn"])
    model = model_of(settings.recognizer, settings.recognizer_options, 0)
    values = settings.as_dict()
    # Where a weight file lies says nothing; its hash does.
    for key in ("sr", "detector", "recognizer"):
        del values[key]
    return {"version": FACES_VERSION, "settings": values, "backends": backends, "recognizer": model.sha256}
