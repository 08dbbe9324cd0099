"""`faceup run`."""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path
from typing import Any

import click

from faceup import defaults
from faceup.errors import ConfigError
from faceup.files import check_writable, shown
from faceup.recipe import PUBLISHED, SIMILARITIES, RunRecipe, make_recipe, read_recipe
from faceup.runtime.device import DEVICES


@click.command("run")
@click.option("--gallery", metavar="DIR|CSV|YAML", help="High-definition pictures of known people.")
@click.option("--probes", metavar="DIR|CSV|YAML", help="The pictures to recognise.")
@click.option(
    "--sr",
    multiple=True,
    metavar="NAME[:FILE]|all",
    help=f"SR backend, one row of the table each; repeatable [{', '.join(defaults.SR)}].",
)
@click.option("--detector", metavar="NAME", help="Face detector [mtcnn].")
@click.option("--min-face-size", type=click.IntRange(12), help="Smallest face searched, in pixels [20].")
@click.option("--recognizer", metavar="NAME[:FILE]", help=f"Face recogniser [{defaults.RECOGNIZER}].")
@click.option("--similarity", type=click.Choice(SIMILARITIES), help="What is printed [clipped].")
@click.option("--scale", type=click.IntRange(1), help="How many times the SR backends enlarge [4].")
@click.option("--device", type=click.Choice(DEVICES), help="Where the networks run [auto].")
@click.option("--threads", type=click.IntRange(1), help="CPU threads [torch's choice].")
@click.option(
    "--recipe", "recipe_file", type=click.Path(path_type=Path), help="YAML with settings; options win over it."
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to write [runs/NAME-HASH].")
@click.option("--save-images", is_flag=True, default=None, help="Keep every picture after SR, not only the report's.")
@click.option(
    "--split-gain",
    is_flag=True,
    default=None,
    help="Also compare with shared landmarks, to see where a gain comes from.",
)
@click.option("--data-root", type=click.Path(path_type=Path), help="Your copy of the data set that the recipe names.")
@click.option("--pairs", metavar="CSV", help="Write only these comparisons: columns probe, gallery, fold.")
@click.option("--published", type=click.Choice(PUBLISHED), help="Published numbers to evaluate this run beside.")
@click.option("--force", is_flag=True, help="Replace an earlier run folder.")
def command(
    gallery: str | None,
    probes: str | None,
    sr: tuple[str, ...],
    min_face_size: int | None,
    recipe_file: Path | None,
    data_root: Path | None,
    out: Path | None,
    force: bool,
    **settings: Any,
) -> None:
    """Compare the faces of PROBES with those of GALLERY and write tables, CSV files and a report."""
    given = {key: value for key, value in settings.items() if value is not None}
    if sr:
        given["sr"] = sr
    if recipe_file is not None:
        named = re.sub(r"[^\w .-]+", "-", shown(recipe_file.stem)).lstrip(" .-") or "run"
        recipe = read_recipe(recipe_file, RunRecipe, given, usual={"name": named})
        if recipe.pairs is not None and "pairs" not in given:
            recipe = make_recipe(RunRecipe, {**recipe.as_dict(), "pairs": _beside(recipe.pairs, recipe_file)})
    else:
        recipe = make_recipe(RunRecipe, given)
    if min_face_size is not None:
        options = {**recipe.detector_options, "min_face_size": min_face_size}
        recipe = make_recipe(RunRecipe, {**recipe.as_dict(), "detector_options": options})

    from faceup import pipeline
    from faceup.cli._progress import bars
    from faceup.cli._tables import show
    from faceup.report.published import published_tables
    from faceup.report.tables import terminal_table
    from faceup.result import check_target

    if data_root is not None:
        if not recipe.data or gallery or probes:
            raise ConfigError("--data-root needs a recipe with `data`, and no --gallery or --probes beside it.")
        from faceup.datasets.manifests import listings as data_listings

        listings = data_listings(recipe.data, data_root, recipe.seed)
    elif recipe.data and not (gallery and probes):
        raise ConfigError(f"The recipe takes its pictures from {recipe.data.get('kind')}: give --data-root, your copy.")
    else:
        gallery, probes = gallery or _beside(recipe.gallery, recipe_file), probes or _beside(recipe.probes, recipe_file)
        listings = pipeline.listed(recipe, gallery, probes)
    target = out or Path("runs") / pipeline.run_id(recipe, *listings)
    check_target(target, force=force, inputs=(sample.path for side in listings for sample in side.samples))
    check_writable(target)
    with bars() as progress:
        result = pipeline.run_listed(recipe, *listings, progress=progress, command=["faceup", *sys.argv[1:]])
    result.save(target, force=force)

    from rich.console import Console

    Console().print(terminal_table(result.table, result.similarity, result.record))
    # The first table is the one that the recipe asks for; the report has them all.
    for table in itertools.islice(published_tables(result.record, result.similarity, "of this folder"), 1):
        show(table)
    for warning in result.warnings:
        click.echo(f"note: {warning}")
    click.echo(f"wrote {shown(target)}: table.csv, similarity.csv, detections.csv, report.html, run.json")


def _beside(source: str | None, recipe_file: Path | None) -> str | None:
    """Return a recipe's path, taken relative to the recipe's own folder when it is not absolute."""
    return source if source is None or recipe_file is None else str(recipe_file.parent / source)
