"""`faceup train`."""

from __future__ import annotations

from pathlib import Path

import click

from faceup.errors import ConfigError, FaceupError
from faceup.runtime.device import DEVICES, pick_device


@click.command("train")
@click.argument("recipes", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RECIPE...")
@click.option(
    "--data-root", type=click.Path(path_type=Path), required=True, help="Folder that holds the recipes' data folder."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the training [trainings/NAME]; goes on if it has a checkpoint.",
)
@click.option("--queue", is_flag=True, help="Train all recipes and their variants, one after the other.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Processes that make the pictures of the next steps; a GPU needs about one a core.",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads [torch's choice].")
def command(
    recipes: tuple[Path, ...],
    data_root: Path,
    out: Path | None,
    queue: bool,
    device: str,
    workers: int,
    threads: int | None,
) -> None:
    """Train the network of RECIPE; started again on the same folder, it goes on where it stopped.

    With --queue finished trainings are passed over, and one that fails does not keep the others from being trained.
    """
    import torch

    from faceup.train.loop import Trainer, finished
    from faceup.train.machine import Machine
    from faceup.train.recipe import AnyRecipe, read_trainings

    trainings: list[AnyRecipe] = [training for recipe in recipes for training in read_trainings(recipe)]
    if not queue and len(trainings) > 1:
        raise ConfigError(f"{len(trainings)} trainings were asked for: add --queue to train one after the other.")
    if out is not None and len(trainings) > 1:
        raise ConfigError("--out is the folder of one training; a queue writes to trainings/NAME.")
    if threads:
        torch.set_num_threads(threads)
    machine = Machine(pick_device(device), workers)
    failed = 0
    for training in trainings:
        folder = out or Path("trainings") / training.name
        if queue and finished(training, folder):
            click.echo(f"{training.name}: finished already")
            continue
        click.echo(f"{training.name}:")
        try:
            Trainer(training, data_root, folder, machine=machine, say=click.echo).run()
        except FaceupError as error:
            if not queue:
                raise
            failed += 1
            click.echo(f"{training.name}: {error}", err=True)
    if failed:
        raise click.exceptions.Exit(1)
