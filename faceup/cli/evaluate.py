"""`faceup evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from faceup.cli._tables import show
from faceup.errors import ConfigError
from faceup.files import shown


def _targets(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 < value < 1 for value in values) or len(set(values)) != len(values):
        raise ConfigError(
            f"Rates are numbers between 0 and 1, each once, with commas between, as 0.1,0.01; got {text!r}."
        )
    return values


@click.command("evaluate")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write; needed to compare several runs.")
@click.option("--fmr", default="0.1,0.01,0.001", show_default=True, help="False match rates to choose thresholds for.")
@click.option("--fpir", default="0.1,0.01", show_default=True, help="False positive identification rates, likewise.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the split and of the bootstrap.")
@click.option("--rounds", type=click.IntRange(100), default=2000, show_default=True, help="Resamples of people.")
@click.option("--no-plots", is_flag=True, help="Draw no plots (they need the extra `plots`).")
@click.option("--no-report", is_flag=True, help="Leave the run folders and their report.html as they are.")
@click.option("--force", is_flag=True, help="Replace an earlier evaluation at --out.")
def command(
    runs: tuple[Path, ...],
    out: Path | None,
    fmr: str,
    fpir: str,
    seed: int,
    rounds: int,
    no_plots: bool,
    no_report: bool,
    force: bool,
) -> None:
    """Measure run folders: error rates with intervals, differences between SR systems, thresholds, plots.

    Nothing but the folders of `faceup run` is read. The results go into RUN/evaluation and RUN/report.html, and with
    --out into a folder of their own, where several runs stand side by side.
    """
    from faceup.evaluate.evaluation import evaluate
    from faceup.evaluate.measure import Settings

    settings = Settings(
        seed=seed,
        rounds=rounds,
        pair_rounds=max(100, rounds // 4),
        fmr_targets=_targets(fmr),
        fpir_targets=_targets(fpir),
    )
    results = evaluate(
        runs,
        out,
        settings=settings,
        plots=not no_plots,
        reports=not no_report,
        force=force,
        command=["faceup", *sys.argv[1:]],
    )
    show(results.shown()[0])
    written = [*([out] if out is not None else []), *([] if no_report else [run / "evaluation" for run in runs])]
    click.echo(f"wrote {', '.join(map(shown, written))}: metrics.csv, metrics.md, thresholds.json")
