"""What faceup does where nothing else is asked for, and why; no other module repeats these names."""

from __future__ import annotations

SR = ("none", "bicubic", "sisn-surveillance")
RECOGNIZER = "mobilefacenet-lr"
# For the small faces of an archive, where one system is run and not several compared.
ARCHIVE_SR = "bicubic"
# By the setting of a run.
REASONS = {
    "sr": "the picture as it is; bicubic, the best on hard pictures with the default recogniser; and the network "
    "trained on cameras' pictures, which put most people first there with two of three others (docs/results/hard.md)",
    "recognizer": "taught to see in poor pictures what mobilefacenet sees in good ones; on hard pictures it put more "
    "people first behind every SR backend, on good ones as many (docs/results/hard.md)",
}
