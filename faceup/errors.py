"""The exceptions of faceup.

    FaceupError
    |-- ConfigError     the recipe, an option or a name is wrong
    |-- DataError       a picture, a folder, a manifest or a run folder is wrong
    |-- WeightsError    a weight file is missing, damaged or of another network
    |-- ContractError   a plug-in returned something that its protocol forbids
    `-- StageError      a stage of the pipeline failed on good input

A message says what is wrong, where, what was expected, what was found and what to do. The command line turns every
FaceupError into exit code 1 and any other exception into exit code 3.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class FaceupError(Exception):
    """Base of everything that faceup raises on purpose."""


class ConfigError(FaceupError):
    """A recipe, an option or a name does not say what it must."""


class DataError(FaceupError):
    """A picture, folder, manifest or run folder cannot be used."""


class WeightsError(FaceupError):
    """A weight file is missing, damaged, or belongs to another network."""


class ContractError(FaceupError):
    """A plug-in broke its protocol."""


class StageError(FaceupError):
    """A stage failed on input that it should have handled."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for a name that is not among `known`, with the nearest names as a suggestion."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=2)
    hint = f"did you mean {' or '.join(repr(c) for c in close)}?" if close else f"known: {', '.join(names) or 'none'}."
    return ConfigError(f"Unknown {kind} {name!r}: {hint}")
