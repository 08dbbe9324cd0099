"""faceup: compare super-resolution methods by what they do for face recognition in poor surveillance pictures.

    import faceup
    result = faceup.run(gallery="slr/", probes="cam/", sr=["bicubic", "sisn"])
    result.save("runs/first")

Importing the package loads none of its heavy dependencies; `faceup.run` does when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from faceup.pipeline import run
    from faceup.recipe import RunRecipe
    from faceup.result import RunResult

__version__ = "0.1.0"
__all__ = ["RunRecipe", "RunResult", "__version__", "run"]

_HOMES = {"run": "faceup.pipeline", "RunRecipe": "faceup.recipe", "RunResult": "faceup.result"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'faceup' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
