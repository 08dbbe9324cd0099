"""`faceup train`."""

from __future__ import annotations

from pathlib import Path

import click

from faceup.recipe import read_recipe


@click.command("train")
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--data-root", type=click.Path(path_type=Path), required=True, help="Folder that holds the recipe's data folder."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the training [trainings/NAME]; goes on if it has a checkpoint.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads [torch's choice].")
def command(recipe: Path, data_root: Path, out: Path | None, threads: int | None) -> None:
    """Train the network of RECIPE; started again on the same folder, it goes on where it stopped."""
    import torch

    from faceup.train.loop import Trainer
    from faceup.train.recipe import TrainRecipe

    if threads:
        torch.set_num_threads(threads)
    settings = read_recipe(recipe, TrainRecipe)
    Trainer(settings, data_root, out or Path("trainings") / settings.name, say=click.echo).run()
