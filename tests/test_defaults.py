"""A run says which defaults it used, and why."""

from __future__ import annotations

from click.testing import CliRunner

from faceup.cli.main import cli
from faceup.defaults import REASONS, RECOGNIZER, SR
from faceup.recipe import RunRecipe


def test_only_what_is_the_default_is_called_so() -> None:
    told = RunRecipe().defaults_used()
    assert set(told) == set(REASONS)
    assert told["sr"].startswith("none, bicubic, sisn-surveillance (default: ")
    assert REASONS["recognizer"] in told["recognizer"]
    assert set(RunRecipe(sr=("bicubic",)).defaults_used()) == {"recognizer"}
    assert set(RunRecipe(recognizer="mobilefacenet").defaults_used()) == {"sr"}


def test_the_help_names_them() -> None:
    told = " ".join(CliRunner().invoke(cli, ["run", "--help"]).output.split())
    assert f"[{RECOGNIZER}]" in told
    assert f"[{', '.join(SR)}]" in told
