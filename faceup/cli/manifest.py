"""`faceup manifest`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from faceup.errors import ConfigError
from faceup.files import shown

_ROOT = click.Path(path_type=Path)


@click.group("manifest")
def command() -> None:
    """Data sets of your own licensed copies: scface, tinyface, survface, lfw, ffhq, celeba, folder.

    `make` writes the CSV files that `faceup run` reads, `check` names what a copy lacks, `lock` records its hashes.
    """


def _settings(texts: tuple[str, ...]) -> dict[str, str]:
    settings = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise ConfigError(f"--set needs NAME=VALUE, as --set camera=1; got {text!r}.")
        settings[key] = value
    return settings


@command.command("make")
@click.argument("kind")
@click.argument("root", type=_ROOT)
@click.option("--out", type=_ROOT, required=True, help="Folder for gallery.csv, probes.csv and pairs.csv.")
@click.option("--protocol", default="", metavar="NAME", help="Protocol of the kind [its first].")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Setting of the protocol; repeatable.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything that is drawn.")
@click.option("--force", is_flag=True, help="Replace earlier manifests.")
def make(kind: str, root: Path, out: Path, protocol: str, settings: tuple[str, ...], seed: int, force: bool) -> None:
    """Write the manifests of the copy of KIND at ROOT."""
    from faceup.datasets.layout import Wish
    from faceup.datasets.manifests import write_manifests

    made = write_manifests(kind, root, Wish(protocol, seed, _settings(settings)), out, force=force)
    counts = Counter(entry.role for entry in made.entries)
    for note in made.notes:
        click.echo(f"note: {note}")
    comparisons = len(made.pairs) or counts["gallery"] * counts["probe"]
    if comparisons > 50_000_000:
        click.echo(f"note: {comparisons} comparisons per SR system: take a sample (--set people=...) or much memory.")
    parts = ", ".join(f"{count} {role}" for role, count in sorted(counts.items()))
    click.echo(f"wrote {shown(out)}: {parts}{f', {len(made.pairs)} pairs' if made.pairs else ''}")


@command.command("check")
@click.argument("kind")
@click.argument("root", type=_ROOT)
@click.option("--lock", "locked", type=_ROOT, help="Also compare with a file of `faceup manifest lock`.")
@click.option("--subjects", type=click.IntRange(1), help="How many people the copy has [the published number].")
def check(kind: str, root: Path, locked: Path | None, subjects: int | None) -> int:
    """Name what the copy of KIND at ROOT lacks; exit code 1 if it lacks anything."""
    from faceup.datasets.layout import Wish, facts
    from faceup.datasets.manifests import check_lock, kind_of

    problems = kind_of(kind).check(root, Wish(subjects=subjects))
    if locked is not None:
        problems += check_lock(root, locked)
    for problem in problems:
        click.echo(f"{kind}: {problem}")
    if problems:
        click.echo(f"{kind}: {len(problems)} problems. How to get it: {facts(kind)['licence']}.")
        return 1
    click.echo(f"{kind}: whole")
    return 0


@command.command("lock")
@click.argument("kind")
@click.argument("root", type=_ROOT)
@click.option("--out", type=_ROOT, required=True, help="CSV file for paths, sizes and hashes.")
def lock_command(kind: str, root: Path, out: Path) -> None:
    """Record the sha256 of every picture of the copy of KIND at ROOT."""
    from faceup.datasets.manifests import lock

    click.echo(f"wrote {shown(out)}: {lock(kind, root, out)} pictures")
