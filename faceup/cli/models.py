"""`faceup models`."""

from __future__ import annotations

from pathlib import Path

import click

from faceup.errors import FaceupError
from faceup.files import shown
from faceup.types import ArchiveSpec
from faceup.weights import store
from faceup.weights.catalog import catalog, spec


@click.group("models")
def command() -> None:
    """List, describe, pull and verify the weight files; only `pull` downloads anything."""


@command.command("list")
def list_() -> None:
    """Print one line per weight file: size, licence, what it is for, and whether it is here."""
    for weight in catalog().values():
        marks = [
            "generative" if weight.generative else "",
            "" if weight.commercial else "not for commercial use",
            "" if weight.redistributable else "not to be passed on",
            "" if _here(weight.name) else "not pulled",
        ]
        notes = ", ".join(mark for mark in marks if mark)
        click.echo(f"{weight.name:18} {weight.bytes / 2**20:6.2f} MiB  {weight.licence:28} {notes}".rstrip())


def _here(name: str) -> bool:
    try:
        store.locate(spec(name))
    except store.NotPulledError:
        return False
    except FaceupError:
        return True  # it should be here; `verify` says what is wrong
    return True


@command.command("info")
@click.argument("name")
def info(name: str) -> None:
    """Print everything that is known of the weight file NAME."""
    weight = spec(name)
    for slot in weight.__slots__:
        value = getattr(weight, slot)
        if isinstance(value, ArchiveSpec):
            value = f"{value.filename}, {value.bytes} bytes, sha256 {value.sha256}"
        elif isinstance(value, bool):
            value = "yes" if value else "no"
        elif isinstance(value, tuple):
            value = ", ".join(value)
        if value:
            click.echo(f"{slot}: {value}")
    try:
        click.echo(f"found: {shown(store.locate(weight))}")
    except FaceupError as error:
        click.echo(f"found: no. {error}")


@command.command("pull")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option(
    "--accept-licence", metavar="LICENCE", help="Name of a licence that forbids commercial use, which you accept."
)
@click.option(
    "--from", "file", type=click.Path(path_type=Path), help="The source's file, fetched by other means (one NAME only)."
)
def pull(names: tuple[str, ...], accept_licence: str | None, file: Path | None) -> None:
    """Fetch weight files from their sources into the cache (FACEUP_CACHE), checked by sha256."""
    from faceup.cli._progress import bars
    from faceup.weights import pull as pulling

    if file is not None and len(names) != 1:
        raise click.UsageError("--from FILE goes with one NAME.")
    with bars() as progress:
        found = [pulling.pull(name, accept_licence=accept_licence, file=file, progress=progress) for name in names]
    for name, path in zip(names, found, strict=True):
        click.echo(f"{name}: {shown(path)}")


@command.command("verify")
@click.argument("names", nargs=-1)
def verify(names: tuple[str, ...]) -> None:
    """Check size and sha256 of the named weight files, or of all; those not pulled yet count only when named."""
    bad = 0
    for name in names or catalog():
        try:
            store.checked_bytes(name)
            click.echo(f"{name}: ok")
        except FaceupError as error:
            if isinstance(error, store.NotPulledError) and not names:
                click.echo(f"{name}: not pulled")
                continue
            bad += 1
            click.echo(f"{name}: {error}", err=True)
    if bad:
        raise click.exceptions.Exit(1)
