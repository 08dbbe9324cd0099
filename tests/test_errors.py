"""The exception tree and the message for unknown names."""

from __future__ import annotations

import pytest

from faceup import errors
from faceup.errors import FaceupError, unknown_name


@pytest.mark.parametrize("name", ["ConfigError", "DataError", "WeightsError", "ContractError", "StageError"])
def test_every_error_is_a_faceup_error_and_no_other(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, FaceupError)
    assert kind.__bases__ == (FaceupError,)


def test_unknown_name_suggests_the_nearest() -> None:
    error = unknown_name("sr backend", "bicubik", ["none", "bicubic", "sisn"])
    assert isinstance(error, errors.ConfigError)
    assert str(error) == "Unknown sr backend 'bicubik': did you mean 'bicubic'?"


def test_unknown_name_suggests_two_when_both_are_near() -> None:
    message = str(unknown_name("weights", "sisn-x", ["sisn-x4", "sisn-x8", "rcan"]))
    assert message.startswith("Unknown weights 'sisn-x': did you mean 'sisn-x")
    assert "'sisn-x4'" in message
    assert " or " in message
    assert "'sisn-x8'" in message


def test_unknown_name_lists_what_there_is_when_nothing_is_near() -> None:
    assert str(unknown_name("colour", "qqq", ["red", "blue"])) == "Unknown colour 'qqq': known: blue, red."
    assert str(unknown_name("colour", "qqq", [])) == "Unknown colour 'qqq': known: none."
