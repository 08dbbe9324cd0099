"""What faceup does where nothing else is asked for, and why; no other module repeats these names."""

from __future__ import annotations

SR = ("none", "bicubic", "sisn-surveillance")
RECOGNIZER = "mobilefacenet-duo"
# For the small faces of an archive, where one system is run and not several compared.
ARCHIVE_SR = "bicubic"
# By the setting of a run.
REASONS = {
    "sr": "the picture as it is; bicubic, the best on hard pictures with the default recogniser; and the network "
    "trained on cameras' pictures, which put most people first there with two of three others (docs/results/hard.md)",
    "recognizer": "two networks that were taught to see in poor pictures what others see in good ones; on hard "
    "pictures they put more people first behind every SR backend and tell people apart better than either alone, on "
    "good ones they put as many first (docs/results/hard.md)",
}
