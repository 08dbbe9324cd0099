"""The plots: CMC, DET with log axes, score distributions, similarity by eye distance; as PNG and SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faceup.errors import ConfigError
from faceup.evaluate.systems import System
from faceup.metrics.face_quality import EYE_EDGES
from faceup.metrics.identification import cmc
from faceup.metrics.separation import histogram
from faceup.report.text import shortened

# Told apart without colours too: every system has its own dashes and marks.
_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
_MARKS = "os^Dv<>"
_CMC_DEPTH = 20
_BINS = 80


def need_matplotlib() -> None:
    """Raise ConfigError if matplotlib (the extra `plots`) is not installed, before anything is measured."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "Plots need matplotlib: pip install 'faceup[plots]', or leave them out: --no-plots."
        ) from error


def write_plots(systems: Sequence[System], folder: Path) -> list[str]:
    """Write every plot that the runs have data for, as NAME.png and NAME.svg, and return the names.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    need_matplotlib()
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "svg.hashsalt": "faceup",
        "svg.fonttype": "path",
        "font.size": 9,
        "text.usetex": False,
        "text.parse_math": False,
    }
    written = []
    plots: dict[str, Callable[[Sequence[System], Any], bool]] = {
        "cmc": _cmc,
        "det": _det,
        "scores": _scores,
        "eye_distance": _eye_distance,
    }
    with mpl.rc_context(settings):
        for name, draw in plots.items():
            figure = Figure(figsize=(6.4, 4.4), layout="constrained")
            if draw(systems, figure):
                figure.savefig(folder / f"{name}.png", dpi=130, metadata={"Software": None})
                figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
                written.append(name)
    return written


def _label(system: System) -> str:
    # A leading underscore would hide a line from the legend.
    return (
        shortened(system.title, 32).replace("_", "\u200b_", 1)
        if system.title.startswith("_")
        else shortened(system.title, 32)
    )


def _style(k: int) -> dict[str, Any]:
    return {"color": f"C{k % 10}", "linestyle": _STYLES[k % len(_STYLES)], "linewidth": 1.6}


def _cmc(systems: Sequence[System], figure: Any) -> bool:
    axes = figure.add_subplot()
    drawn = False
    for k, system in enumerate(systems):
        ranks = system.ranks()[system.mated]
        if not len(ranks):
            continue
        depth = min(_CMC_DEPTH, len(system.gallery_person))
        marks = {"marker": _MARKS[k % len(_MARKS)], "markersize": 3.5}
        axes.plot(np.arange(1, depth + 1), cmc(ranks, depth), label=_label(system), **_style(k), **marks)
        drawn = True
    axes.set(xlabel="rank", ylabel="share of mated probes found", title="CMC; failures to acquire are misses")
    axes.grid(alpha=0.3)
    if drawn:
        axes.legend()
    return drawn


def _det(systems: Sequence[System], figure: Any) -> bool:
    axes = figure.add_subplot()
    drawn = False
    fewest = [1.0, 1.0]
    for k, system in enumerate(systems):
        compared = system.comparisons()
        if not len(compared.genuine) or not compared.impostors:
            continue
        curve = compared.curve()
        fewest = [min(fewest[0], 1 / compared.impostors), min(fewest[1], 1 / len(compared.genuine))]
        # A log axis has no zero; points without an error end the line.
        seen = (curve.fmr > 0) & (curve.fnmr > 0)
        axes.plot(curve.fmr[seen], curve.fnmr[seen], label=_label(system), **_style(k))
        drawn = True
    if not drawn or max(fewest) == 1:
        return False
    axes.set(xscale="log", yscale="log", xlim=(fewest[0], 1), ylim=(fewest[1], 1))
    # Not as powers of ten: those would need mathematical text, which names of systems must not be read as.
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.set(xlabel="false match rate", ylabel="false non-match rate", title="DET; comparisons that could be made")
    axes.grid(alpha=0.3, which="both", linewidth=0.5)
    axes.legend()
    return True


def _scores(systems: Sequence[System], figure: Any) -> bool:
    shown = [s for s in systems if len(s.comparisons())][:12]
    if not shown:
        return False
    figure.set_size_inches(6.4, 0.9 + 1.15 * len(shown))
    grid = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    for axes, system in zip(grid, shown, strict=True):
        compared = system.comparisons()
        others = (*compared.impostor_shares(_BINS), compared.impostors)
        own = (*histogram(compared.genuine, _BINS)[:2], len(compared.genuine))
        for (shares, edges, count), name, fill in ((others, "other people", "C7"), (own, "same person", "C0")):
            axes.stairs(shares, edges, fill=True, alpha=0.5, color=fill, label=f"{name}, n = {count}")
        axes.set(ylabel="share")
        axes.set_title(_label(system), loc="left", fontsize=8)
        axes.legend(fontsize=7)
    grid[-1].set(xlabel="cosine")
    return True


def _eye_distance(systems: Sequence[System], figure: Any) -> bool:
    axes = figure.add_subplot()
    drawn = False
    for k, system in enumerate(systems):
        eyes = system.about["eye_px"].to_numpy(np.float64)
        # A probe without a similarity is a 0 here as in Table 5's average, or a failing system would look good.
        values = np.nan_to_num(system.printed)
        use = ~np.isnan(eyes) & system.mated
        if not use.any():
            continue
        axes.plot(eyes[use], values[use], ".", color=f"C{k % 10}", markersize=2.5, alpha=0.35)
        places = np.searchsorted(EYE_EDGES, eyes[use], side="right")
        means = [(eyes[use][places == b].mean(), values[use][places == b].mean()) for b in np.unique(places)]
        style = {"marker": _MARKS[k % len(_MARKS)], "markersize": 6}
        axes.plot(*zip(*means, strict=True), label=f"{_label(system)}, mean", **_style(k), **style)
        drawn = True
    axes.set_xscale("log")
    axes.set(
        xlabel="distance between the eyes in the picture as it came, px",
        ylabel="similarity to the own person (no face = 0)",
        title="Similarity by eye distance",
    )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("{x:g}")
    axes.grid(alpha=0.3)
    if drawn:
        axes.legend()
    return drawn
