"""`faceup simulate`."""

from __future__ import annotations

from pathlib import Path

import click

from faceup.errors import DataError
from faceup.files import shown


@click.command("simulate")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--distances", default="d1,d2,d3", show_default=True, help="Presets, comma-separated (docs/simulate.md).")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--cameras", type=click.IntRange(1), default=1, show_default=True, help="How many cameras to simulate.")
@click.option("--force", is_flag=True, help="Replace an earlier simulation.")
def command(source: Path, out: Path, distances: str, seed: int, cameras: int, force: bool) -> None:
    """Make surveillance-like crops of the faces in SOURCE and write them to OUT."""
    from faceup.cli._progress import bars
    from faceup.manifest import LINK
    from faceup.simulate import simulate

    names = [name.strip() for name in distances.split(",") if name.strip()]
    with bars() as step:
        summary = simulate(
            source,
            out,
            distances=names,
            seed=seed,
            cameras=cameras,
            force=force,
            progress=lambda done, total: step("pictures", done, total),
        )
    for row in summary.rows:
        if row.status != "ok":
            click.echo(f"note: {row.source}, {row.distance}: {row.status}. {row.message}")
    links = [name for name in summary.ignored if name.endswith(LINK)]
    unnamed = [name for name in summary.ignored if not name.endswith(LINK)]
    for left, what in ((unnamed, "files are not named as pictures"), (links, "folders are links")):
        if left:
            click.echo(f"note: {len(left)} {what}: left out, e.g. {left[0]}")
    counts = ", ".join(f"{count} {status}" for status, count in sorted(summary.counts.items()))
    click.echo(f"wrote {shown(out)}: {counts}; how each crop was made stands in simulation.csv")
    if "ok" not in summary.counts:
        raise DataError(
            f"{shown(source)}: no crop could be made of any picture; simulation.csv in {shown(out)} says why."
        )
