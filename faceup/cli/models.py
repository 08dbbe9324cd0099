"""`faceup models`."""

from __future__ import annotations

import click

from faceup.errors import FaceupError
from faceup.weights import store
from faceup.weights.catalog import catalog, spec


@click.group("models")
def command() -> None:
    """List, describe and verify the weight files; nothing is downloaded."""


@command.command("list")
def list_() -> None:
    """Print one line per weight file."""
    for weight in catalog().values():
        click.echo(f"{weight.name:16} {weight.bytes / 2**20:6.2f} MiB  {weight.licence}")


@command.command("info")
@click.argument("name")
def info(name: str) -> None:
    """Print everything that is known of the weight file NAME."""
    weight = spec(name)
    for slot in weight.__slots__:
        value = getattr(weight, slot)
        click.echo(f"{slot}: {', '.join(value) if isinstance(value, tuple) else value}")


@command.command("verify")
@click.argument("names", nargs=-1)
def verify(names: tuple[str, ...]) -> None:
    """Check size and sha256 of the named weight files, or of all."""
    bad = 0
    for name in names or catalog():
        try:
            store.checked_bytes(name)
            click.echo(f"{name}: ok")
        except FaceupError as error:
            bad += 1
            click.echo(f"{name}: {error}", err=True)
    if bad:
        raise click.exceptions.Exit(1)
