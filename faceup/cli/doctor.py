"""`faceup doctor`."""

from __future__ import annotations

import platform

import click

from faceup import __version__, registry
from faceup.errors import FaceupError
from faceup.weights import store
from faceup.weights.catalog import catalog


@click.command("doctor")
def command() -> None:
    """Print versions, devices, backends and weights found, and what is missing; exit 1 if something is."""
    missing = []
    click.echo(f"faceup {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    from faceup.record import package_versions

    for package, version in package_versions().items():
        click.echo(f"  {package} {version}")
    import torch

    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    click.echo(f"devices: cpu ({torch.get_num_threads()} threads)" + "".join(f", cuda ({gpu})" for gpu in gpus))
    from faceup.runtime.engine import engines

    found = ", ".join(engines("auto", "cpu"))
    click.echo(f"engines of SR networks on the CPU: {found} (the first that can run a network is taken)")
    for stage in registry.STAGES:
        for name in registry.names(stage):
            try:
                info = registry.info(stage, name)
                generated = ", output marked as generated" if info.generative else ""
                click.echo(f"{stage} {name} {info.version}: {info.summary} [{info.licence}]{generated}")
            except FaceupError as error:
                missing.append(str(error))
                click.echo(f"{stage} {name}: {error}")
    for name in catalog():
        try:
            store.checked_bytes(name)
            click.echo(f"weights {name}: found, sha256 as catalogued")
        except store.NotPulledError:
            click.echo(f"weights {name}: not pulled (optional: faceup models pull {name})")
        except FaceupError as error:
            missing.append(str(error))
            click.echo(f"weights {name}: {error}")
    if missing:
        raise click.exceptions.Exit(1)
    click.echo("nothing is missing")
