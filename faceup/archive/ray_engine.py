"""The Ray engine: the same units on a cluster. Each actor is a worker with its networks loaded once.

Decoding runs in a thread of the actor beside its inference, so no reading task waits for a CPU that the actors hold;
one CPU of the cluster is left to the driver all the same. Files must be found under the same paths on every machine.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

from faceup.archive.engines import STRIKES
from faceup.archive.settings import FaceSettings
from faceup.archive.units import Unit
from faceup.archive.worker import Outcome, Worker
from faceup.errors import ConfigError, StageError


@dataclass(frozen=True, slots=True)
class RayOptions:
    """How the cluster is used.

    Attributes:
        address: of a running cluster; None takes RAY_ADDRESS, else starts one on this machine.
        workers: actors; 0: as many as the CPUs (and GPUs) allow when one CPU is left free.
        gpus: GPUs of each actor, e.g. 0.25 for four actors on one; 0 on the CPU.
    """

    address: str | None = None
    workers: int = 0
    gpus: float = 0.0


def run_ray(
    settings: FaceSettings, units: Iterable[Unit], options: RayOptions
) -> Generator[tuple[Unit, Outcome], None, None]:
    """Yield the units with their outcomes as they come, computed by actors.

    An actor that dies is replaced and its unit is done again, at most `STRIKES` times.

    Raises:
        ConfigError: Ray is not installed, or the cluster cannot hold one actor.
    """
    try:
        import ray
    except ImportError as error:
        raise ConfigError("The engine ray needs Ray: pip install 'faceup[ray]'.") from error
    mine = not ray.is_initialized()
    if mine:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        address = options.address or os.environ.get("RAY_ADDRESS")
        # The workers read the environment of their node; a plug-in on PYTHONPATH must be found there too.
        variables = {key: os.environ[key] for key in ("PYTHONPATH", "OMP_NUM_THREADS") if key in os.environ}
        ray.init(address=address, logging_level="ERROR", log_to_driver=False, runtime_env={"env_vars": variables})
    try:
        yield from _run(ray, settings, units, options)
    finally:
        if mine:
            ray.shutdown()


def actors_for(cpus: float, gpus: float, options: RayOptions) -> int:
    """Return how many actors of one CPU and `options.gpus` GPUs fit when one CPU is left free, at least 1.

    Raises:
        ConfigError: not even one fits.
    """
    fits = max(1, int(cpus) - 1)
    if options.gpus:
        # Actors that share a GPU must fit on one; GPUs left over on different machines do not add up.
        fits = min(
            fits, int(gpus) * max(1, math.floor(1 / options.gpus)) if options.gpus <= 1 else int(gpus / options.gpus)
        )
    if cpus < 1 or fits < 1:
        raise ConfigError(f"The Ray cluster has {cpus:g} CPUs and {gpus:g} GPUs: no worker fits.")
    return min(fits, options.workers) if options.workers else fits


def _run(
    ray: Any, settings: FaceSettings, units: Iterable[Unit], options: RayOptions
) -> Generator[tuple[Unit, Outcome], None, None]:
    have = ray.cluster_resources()
    count = actors_for(have.get("CPU", 0), have.get("GPU", 0), options)
    remote = ray.remote(num_cpus=1, num_gpus=options.gpus, max_restarts=0, max_concurrency=1)(Worker)
    source = iter(units)
    strikes: dict[str, int] = {}
    again: list[Unit] = []
    idle = [remote.remote(settings) for _ in range(count)]
    everyone = set(idle)
    running: dict[Any, tuple[Any, Unit]] = {}
    cannot_start = (ray.exceptions.ActorUnschedulableError, ray.exceptions.RuntimeEnvSetupError)
    try:
        while True:
            while idle:
                unit = again.pop() if again else next(source, None)
                if unit is None:
                    break
                actor = idle.pop()
                running[actor.process.remote(unit)] = (actor, unit)
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1)
            actor, unit = running.pop(ready[0])
            try:
                outcome = ray.get(ready[0])
            except ray.exceptions.RayTaskError as error:  # before its base class: raised by the worker's own code
                raise StageError(f"A Ray worker cannot work: {error.cause}") from error
            except ray.exceptions.RayError as error:  # died, killed for its memory, its node or its result lost
                if getattr(error, "actor_init_failed", False) or isinstance(error, cannot_start):
                    raise StageError(f"A Ray worker cannot start: {error}") from error
                everyone.discard(actor)
                actor = remote.remote(settings)
                everyone.add(actor)
                strikes[unit.key] = strikes.get(unit.key, 0) + 1
                if strikes[unit.key] < STRIKES:
                    again.append(unit)
                    outcome = None
                else:
                    why = f"a worker died {STRIKES} times while it had this unit ({type(error).__name__})"
                    outcome = Outcome(None, reason=why)
            idle.append(actor)
            if outcome is not None:
                yield unit, outcome
    finally:
        for actor in everyone:
            with contextlib.suppress(Exception):  # a cluster that is gone has no actors to end
                ray.kill(actor)
