"""What faceup does where nothing else is asked for, and why; no other module repeats these names."""

from __future__ import annotations

SR = ("none", "bicubic", "sisn")
RECOGNIZER = "mobilefacenet"
# By the setting of a run.
REASONS = {
    "sr": "the picture as it is and bicubic to compare with, and the network of the paper; on noisy pictures bicubic "
    "is better than it (README)",
    "recognizer": "the only recogniser whose weights are shipped",
}
