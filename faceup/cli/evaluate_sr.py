"""`faceup evaluate-sr`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from faceup.errors import ConfigError
from faceup.files import check_writable, shown, whole_or_not_at_all
from faceup.runtime.device import DEVICES

if TYPE_CHECKING:
    import pandas as pd

METRICS = "psnr,ssim,lpips,mps"
# Name and digits of every metric as a person reads it; dB where it has a unit.
_PRINTED = {"psnr": ("PSNR", 3, " dB"), "ssim": ("SSIM", 4, ""), "lpips": ("LPIPS", 4, ""), "mps": ("MPS", 4, "")}


def _crop(ctx: click.Context, parameter: click.Parameter, value: str) -> int | str:
    if value == "paper":
        return value
    if not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither a number of pixels nor 'paper'.")
    return int(value)


def _settings(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    from faceup.recipe import parse_yaml

    settings: dict[str, dict[str, Any]] = {}
    for text in values:
        place, equals, value = text.partition("=")
        backend, dot, key = place.partition(".")
        if not (equals and dot and backend and key):
            raise click.BadParameter(f"{text!r} is not of the form NAME.KEY=VALUE.")
        try:
            settings.setdefault(backend, {})[key] = parse_yaml(value, repr(text))
        except ConfigError as error:
            raise click.BadParameter(f"the value in {text!r} is no YAML: put text in quotes.") from error
    return settings


@click.command("evaluate-sr")
@click.option("--hr", required=True, metavar="DIR|CSV|YAML", help="Original pictures.")
@click.option(
    "--sr",
    multiple=True,
    metavar="NAME[:FILE]|all",
    help="SR backend; repeatable. all: each with weights.",
)
@click.option("--recipe", type=click.Path(path_type=Path), help="YAML table with published numbers, instead of --sr.")
@click.option("--sr-option", "sr_options", multiple=True, callback=_settings, metavar="NAME.KEY=VALUE",
              help="Setting of a backend, e.g. onnx.range=255; repeatable.")  # fmt: skip
@click.option("--scale", type=click.IntRange(2), default=4, show_default=True, help="Reduction and enlargement.")
@click.option("--size", type=click.IntRange(8), help="Reduce the originals to this shorter side first.")
@click.option("--crop", callback=_crop, default="0", show_default=True, metavar="PIXELS|paper",
              help="Border left out of every measure; paper: 6 + scale.")  # fmt: skip
@click.option("--channel", type=click.Choice(("rgb", "y")), default="rgb", show_default=True,
              help="Of which PSNR and SSIM are taken; LPIPS always sees RGB.")  # fmt: skip
@click.option("--metrics", default=METRICS, show_default=True, metavar="NAME,...", help="What to measure.")
@click.option("--lpips-trunk", type=click.Path(path_type=Path), metavar="FILE",
              help="torchvision's alexnet-owt-7be5be79.pth instead of the pulled lpips-alex.")  # fmt: skip
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="CSV file for the numbers of every picture."
)
@click.pass_context
def command(ctx: click.Context, /, hr: str, recipe: Path | None, out: Path | None, **settings: Any) -> None:
    """Reduce pictures, enlarge them with each SR backend, and print quality metrics with 95 % intervals.

    LPIPS and MPS need weights that are fetched once: faceup models pull lpips-alex. With --recipe the table of a
    publication is printed, ours beside the published numbers; the recipe then says what is measured and how.
    """
    from faceup.frames import write_csv

    if out is not None:
        check_writable(out)
    if recipe is not None:
        given = [name for name in settings if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT]
        if set(given) - {"device"}:
            raise click.UsageError("--recipe says what is measured: only --hr, --device and --out go with it.")
        measured, lines = _by_recipe(recipe, hr, settings["device"])
    elif settings["sr"]:
        measured, lines = _by_options(hr, **settings)
    else:
        raise click.UsageError("Give --sr or --recipe.")
    if out is not None:
        with whole_or_not_at_all(out, follow=True) as path:
            write_csv(measured, path)
    for line in lines:
        click.echo(line)
    if out is not None:
        click.echo(f"wrote {shown(out)}")


def _by_options(hr: str, metrics: str, **settings: Any) -> tuple[pd.DataFrame, list[str]]:
    from faceup.cli._progress import bars
    from faceup.evaluate_sr import evaluate_sr, summary

    wanted = [metric.strip() for metric in metrics.split(",") if metric.strip()]
    with bars() as progress:
        measured = evaluate_sr(hr, metrics=wanted, progress=progress, **settings)
    rows = summary(measured).to_dict("records")
    return measured, [f"{row['sr']:12} {'  '.join(_cells(row))}  n = {row['pictures']}" for row in rows]


def _by_recipe(file: Path, hr: str, device: str) -> tuple[pd.DataFrame, list[str]]:
    from faceup.cli._progress import bars
    from faceup.evaluate_sr import QualityRecipe, compared, measured_by
    from faceup.recipe import read_recipe

    recipe = read_recipe(file, QualityRecipe)
    with bars() as progress:
        measured = measured_by(recipe, hr, file.parent, device=device, progress=progress)
    lines = [f"{recipe.name}: ours [95 %], and in brackets what {recipe.source} prints"]
    for row in compared(measured, recipe).to_dict("records"):
        cells = [
            f"{cell} ({_published(row, metric)})" for metric, cell in zip(recipe.metrics, _cells(row), strict=True)
        ]
        lines.append(f"x{row['scale']} {row['name']:22} {'  '.join(cells)}  n = {row['pictures']}")
    return measured, lines


def _published(row: Mapping[Any, Any], metric: str) -> str:
    value = row[f"{metric}_published"]
    return "-" if value != value else f"{value:.{_PRINTED[metric][1]}f}"


def _cells(row: Mapping[Any, Any]) -> list[str]:
    cells = []
    for metric, (title, digits, unit) in _PRINTED.items():
        if metric in row:
            mean, low, high = (f"{row[key]:.{digits}f}" for key in (metric, f"{metric}_low", f"{metric}_high"))
            cells.append(f"{title} {mean}{unit} [{low}, {high}]" if row[metric] == row[metric] else f"{title} -")
    return cells
