"""How idle threads wait."""

from __future__ import annotations

import os
from collections.abc import MutableMapping

# libgomp, which torch brings on Linux, reads the first; Intel's and LLVM's runtime, on macOS and Windows, the second.
PASSIVE = {"OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}


def wait_passively(environment: MutableMapping[str, str] | None = None) -> None:
    """Let idle OpenMP threads of this process and of those it starts sleep instead of spin, unless the user has chosen.

    A thread that spins keeps a core from whoever has work for it. Where another process takes one of two cores, each of
    the many short parallel loops of a small network then waits for a whole time slice of the scheduler.

    The runtimes read their environment when they are loaded: call this before torch is imported.

    Args:
        environment: `os.environ` if None.
    """
    variables = os.environ if environment is None else environment
    if not set(PASSIVE) & set(variables):
        variables.update(PASSIVE)
