"""The figures that benchmarks of search print: TinyFace's mAP, QMUL-SurvFace's TPIR20 at fixed FPIR."""

from __future__ import annotations

import numpy as np

from faceup.evaluate.measure import Settings, bounded, pair_interval, too_few
from faceup.evaluate.rows import Row, row
from faceup.evaluate.systems import System
from faceup.metrics.bootstrap import ratio_statistic, subject_interval
from faceup.metrics.identification import tpir_statistic

DEPTH = 20
FPIR = (0.3, 0.2, 0.1, 0.01)


def benchmark_rates(system: System, settings: Settings) -> list[Row]:
    """Return mAP over the mated probes, and TPIR20 at SurvFace's four FPIR where there are people who are not enrolled.

    The thresholds of TPIR20 come from the non-mated searches that are judged, as the protocol has it.
    """
    rows: list[Row] = []
    mated = system.mated
    if not mated.any():
        return rows
    people = len(np.unique(system.probe_person[mated]))
    precision, count = system.sums(system.precision, mated), system.sums(mated, mated)
    interval = subject_interval(
        ratio_statistic(precision, count), len(count), rounds=settings.rounds, seed=settings.seed
    )
    interval = bounded(interval, people)
    rows.append(row(system.name, "map", interval, part="benchmark", total=int(mated.sum()), people=people))
    tops = system.tops(np.ones(len(system.probes), bool))
    if not len(tops):
        return rows
    ranks, own = system.ranks()[mated], system.own_scores()[mated]
    found = np.where((ranks >= 1) & (ranks <= DEPTH), own, np.nan)
    # Only people with a probe have a part in it.
    _, unit = np.unique(system.probe_person, return_inverse=True)
    for target in FPIR:
        statistic = tpir_statistic(found, unit[mated], tops, unit[~mated], target)
        interval = bounded(pair_interval(statistic, int(unit.max()) + 1, settings, 2 * len(unit)), people)
        few = too_few(target, len(tops)).replace("impostor comparisons", "non-mated searches")
        said = f"N = {len(system.gallery_person)}; threshold from the {len(tops)} non-mated searches themselves"
        rows.append(
            row(
                system.name,
                f"tpir{DEPTH}",
                interval,
                part="benchmark",
                at=f"FPIR {target:g}",
                total=len(found),
                people=people,
                note="; ".join(filter(None, (few, said))),
            )
        )
    return rows
