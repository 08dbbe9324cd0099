"""What the hallucination alarm is worth: rank-1 of flagged and of other probes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceup.evaluate.measure import Settings, rate_row
from faceup.evaluate.rows import Row
from faceup.evaluate.systems import System
from faceup.metrics.alarm import MEASURES, checked
from faceup.report.run_folder import Run

# What `unchecked` says of a probe of which no measure was checked.
NOTHING = " ".join(MEASURES)


def alarm_rates(runs: Sequence[Run], everyone: Sequence[System], settings: Settings) -> list[Row]:
    """Return the share of flagged probes and rank-1 with and without them, for every system but `none`.

    Probes of which no measure could be checked are in no row. One without a face can be flagged all the same, but is in
    neither group of rank-1.
    """
    rows = []
    place = 0
    for run in runs:
        for system in everyone[place : place + len(run.sr)]:
            if run.alarm is None or system.sr == "none":
                continue
            told = run.alarm[run.alarm["sr"] == system.sr].set_index("probe").reindex(list(system.probes))
            flags = told["flagged"].fillna(0).to_numpy(bool)
            known = np.array([checked(text) for text in told["unchecked"].fillna(NOTHING)])
            if not known.any():
                continue
            rows.append(rate_row(system, "flagged", flags, known, "all", settings))
            first, acquired = system.ranks() == 1, ~system.failed
            for at, chosen in (("flagged", flags), ("not flagged", ~flags), ("both", np.ones(len(flags), bool))):
                group = chosen & known & acquired & system.mated
                if group.any():
                    rows.append(rate_row(system, "rank1", first, group, "all", settings, part="alarm", at=at))
        place += len(run.sr)
    return rows
