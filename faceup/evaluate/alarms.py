"""What the hallucination alarm is worth: rank-1 of flagged and of other probes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from faceup.evaluate.measure import Settings, rate_row
from faceup.evaluate.rows import Row
from faceup.evaluate.systems import System
from faceup.report.run_folder import Run


def alarm_rates(runs: Sequence[Run], everyone: Sequence[System], settings: Settings) -> list[Row]:
    """Return the share of flagged probes and rank-1 with and without them, for every system but `none`.

    Only probes in which a face was found can be flagged; the others are in neither group of rank-1.
    """
    rows = []
    place = 0
    for run in runs:
        for system in everyone[place : place + len(run.sr)]:
            if run.alarm is None or system.sr == "none":
                continue
            marked = run.alarm[run.alarm["sr"] == system.sr].set_index("probe")["flagged"]
            flags = marked.reindex(list(system.probes)).fillna(0).to_numpy(bool)
            first, acquired = system.ranks() == 1, ~system.failed
            rows.append(rate_row(system, "flagged", flags, acquired, "all", settings))
            for at, chosen in (("flagged", flags), ("not flagged", ~flags), ("both", np.ones(len(flags), bool))):
                group = chosen & acquired & system.mated
                if group.any():
                    rows.append(rate_row(system, "rank1", first, group, "all", settings, part="alarm", at=at))
        place += len(run.sr)
    return rows
