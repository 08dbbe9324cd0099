"""`faceup bench`."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from faceup import __version__
from faceup.files import check_writable, whole_or_not_at_all
from faceup.runtime.device import DEVICES
from faceup.runtime.engine import ENGINES


class Size(click.ParamType[tuple[int, int]]):
    """WIDTHxHEIGHT in pixels."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Return width and height."""
        if isinstance(value, tuple):
            return value
        width, _, height = str(value).lower().partition("x")
        if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
            self.fail(f"{value!r} is no size: write it like 42x56.", param, ctx)
        return int(width), int(height)


@click.command("bench")
@click.option(
    "--sr", multiple=True, default=("sisn",), show_default=True, metavar="NAME[:FILE]|all", help="Repeatable."
)
@click.option("--scale", type=click.IntRange(1), default=4, show_default=True, help="How many times SR enlarges.")
@click.option("--size", type=Size(), default="42x56", show_default=True, help="Width and height of the crops.")
@click.option("--batch", type=click.IntRange(1), default=32, show_default=True, help="Crops handed over in one call.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option("--threads", type=click.IntRange(1), help="CPU threads [torch's choice].")
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True, help="What runs SR networks.")
@click.option(
    "--rounds", type=click.IntRange(1), default=3, show_default=True, help="Timed calls, after one or two that are not."
)
@click.option(
    "--crops", type=click.Path(path_type=Path), help="Folder of pictures, scaled to --size; else crops are made up."
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for settings, versions and all times.",
)
def command(
    sr: tuple[str, ...], size: tuple[int, int], threads: int | None, json_file: Path | None, **settings: Any
) -> None:
    """Print how many crops a second SR backends, detector and recogniser do on this machine."""
    import torch

    from faceup.bench import UNTIMED, BenchSettings, bench
    from faceup.record import package_versions
    from faceup.runtime.device import pick_device

    width, height = size
    asked = BenchSettings(sr=sr, width=width, height=height, threads=threads or 0, **settings)
    if json_file is not None:
        check_writable(json_file)
    rates = bench(asked)
    device = pick_device(asked.device)
    on = torch.cuda.get_device_name() if device == "cuda" else f"cpu, {torch.get_num_threads()} threads"
    versions = {"faceup": __version__, "python": platform.python_version(), **package_versions()}
    if json_file is not None:
        told = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(asked).items()}
        written = {"settings": told, "device": on, "versions": versions, "rates": [rate.as_dict() for rate in rates]}
        with whole_or_not_at_all(json_file, follow=True) as path:
            path.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")

    from rich.console import Console
    from rich.table import Table

    table = Table("stage", "backend", "engine", "crops/s", "slowest", "fastest", "ms per crop")
    for rate in rates:
        numbers = (rate.median, rate.slowest, rate.fastest, 1000 / rate.median)
        table.add_row(rate.stage, rate.backend, rate.engine, *(f"{number:.1f}" for number in numbers))
    Console().print(table)
    click.echo(
        f"{width} x {height} px x{asked.scale}, batches of {asked.batch}, {asked.rounds} timed rounds after "
        f"{UNTIMED[device]} not timed; {on}"
    )
    if asked.crops is None:
        click.echo("The crops are made up and hold no face: the detector has less to do than on faces (--crops DIR).")
    click.echo(", ".join(f"{name} {version}" for name, version in versions.items()))
