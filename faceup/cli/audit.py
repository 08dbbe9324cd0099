"""`faceup audit`."""

from __future__ import annotations

from pathlib import Path

import click

from faceup.gallery import audit


@click.group("audit")
def command() -> None:
    """Check the audit log of a gallery."""


@command.command("verify")
@click.argument("folder", metavar="GALLERY", type=click.Path(path_type=Path))
@click.option("--head", metavar="HASH", help="A hash noted earlier that the log must hold: finds entries cut off.")
def verify(folder: Path, head: str | None) -> None:
    """Check that no entry of the log was changed, removed, inserted or reordered, and name interrupted changes."""
    found = audit.verify(folder, head)
    torn = f", {found.torn} lines cut off by a crash" if found.torn else ""
    click.echo(f"{found.entries} entries, the chain is whole{torn}; last hash {found.head}")
    for change in found.interrupted:
        made = {
            True: "the gallery was changed",
            False: "the gallery was not changed",
            None: "whether it was made is lost",
        }
        click.echo(
            f"note: entry {change.number}, {change.action}: begun and not ended (killed, or still under way); "
            f"{made[change.made]}"
        )
