"""The page of tools/measure_hard.py and its table in the README."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tools.hard_statistics import (
    BASE,
    COLUMNS,
    FMR,
    HARD,
    ROUNDS,
    TEACHER,
    Array,
    Judge,
    Measurement,
    System,
)

ORDER = ("none", "bicubic", "sisn", "sisn-surveillance")
# The bars of the project for what it ships.
GENUINE_BAR, ORIGINALS_BAR, FMR_BAR = 0.10, 0.005, 1.25


def hard_report(data: Measurement) -> str:
    """Return the page as Markdown."""
    return "\n".join([*_head(data), *_tables(data), *_differences(data), *_unseen(data), *_bars(data)]) + "\n"


def hard_summary(data: Measurement) -> str:
    """Return the README's table: rank-1 and TAR of every system on `hard`."""
    backends = [sr for sr in ORDER if sr in data.sets(data.judges[0]).get(HARD, {})]
    lines = ["| recogniser | " + " | ".join(backends) + " |", "|---|" + "---|" * len(backends)]
    for judge in [data.judges[0], *data.judges[2:], *data.others]:
        systems = [data.system(judge, HARD, sr) for sr in backends]
        cells = [f"{s.value('rank-1'):.3f}; {s.value('TAR at 99.9 %'):.3f}" for s in systems]
        lines.append(f"| {judge.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _head(data: Measurement) -> Iterator[str]:
    distractors = len(data.gallery(data.judges[0])) - data.subjects
    seeds = {d: len(next(iter(s.values()))) for d, s in data.sets(data.judges[0]).items()}
    noise = ", ".join(f"{n} at `{d}`" for d, n in sorted(seeds.items()))
    yield f"""# Recognition of hard pictures

Written by `tools/measure_hard.py report`; no number is typed by hand.

- Gallery: {data.subjects} neutral photos of the Face Research Lab London Set and, as distractors, the {distractors:,}
  AI-generated portraits (`faces256`) in which a face was found. {data.trained_on():,} of these are training data
  of `sisn-surveillance`, `mobilefacenet-lr` and `mobilefacenet2-lr`; no London photo is.
- Probes: the {data.subjects} smiling photos, as they are (`originals`) and through `faceup simulate` with several noise
  seeds ({noise}); x4; MTCNN finds the face.
- Rank-1 and TAR count a probe without a face as a miss. All other columns are over the probes with a face.
- The threshold of a recogniser lies where the impostor comparisons of its originals have an FMR of {FMR:g}.
- TAR at 99.9 %: share of all probes whose similarity to their own photo is above the 99.9th percentile of these very
  impostor comparisons. It compares systems at one and the same FMR of 0.001, whatever their scores' range.
- d': difference of the mean genuine and impostor similarity in pooled standard deviations.
- Intervals: 95 % percentile bootstrap, {ROUNDS:,} resamples of the subjects with all their probes; the gallery stays as
  it is. Differences are paired: both systems see the same resamples.
"""


def _tables(data: Measurement) -> Iterator[str]:
    for judge in [*data.judges, *data.others]:
        yield f"## {judge.title}"
        yield ""
        yield f"Threshold {data.threshold(judge):.4f}."
        yield ""
        yield "| probes | SR | found | " + " | ".join(COLUMNS) + " |"
        yield "|---|---|---|" + "---|" * len(COLUMNS)
        rows = [("originals", "none"), *((d, sr) for d, srs in sorted(data.sets(judge).items()) for sr in srs)]
        for distance, sr in rows:
            system = data.system(judge, distance, sr)
            shown = [
                f"{system.value(name):.5f}" if name == "FMR" else
                f"{system.value(name):.2f}" if name == "d'" else f"{system.value(name):.3f}"
                for name in COLUMNS
            ]  # fmt: skip
            yield f"| {distance} | {sr} | {system.found}/{system.probes} | " + " | ".join(shown) + " |"
        yield ""


def _interval(difference: tuple[float, float, float], digits: int = 3) -> str:
    value, low, high = difference
    return f"{value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def _differences(data: Measurement) -> Iterator[str]:
    yield "## Paired differences to bicubic"
    yield ""
    for title, base in (("with the same recogniser", None), (f"with {TEACHER}", data.judges[0])):
        yield f"Difference to bicubic {title}, with 95 % intervals:"
        yield ""
        yield "| recogniser | probes | SR | " + " | ".join(COLUMNS) + " |"
        yield "|---|---|---|" + "---|" * len(COLUMNS)
        for judge in data.judges if base else [*data.judges, *data.others]:
            for distance, srs in sorted(data.sets(judge).items()):
                for sr in srs:
                    if sr == BASE and judge == (base or judge):
                        continue
                    system, other = data.system(judge, distance, sr), data.system(base or judge, distance, BASE)
                    cells = [
                        _interval(system.minus(other, name), 5 if name == "FMR" else 2 if name == "d'" else 3)
                        for name in COLUMNS
                    ]
                    yield f"| {judge.title} | {distance} | {sr} | " + " | ".join(cells) + " |"
        yield ""


def _unseen(data: Measurement) -> Iterator[str]:
    """A student might push probes away from the very portraits that it learned from."""
    first = data.judges[0]
    left = len(data.gallery(first, trained_on=False))
    yield f"## `{HARD}`, without the portraits that the networks learned from"
    yield ""
    yield f"Gallery: {left} pictures, the {data.subjects} neutral photos among them, and thresholds of its own."
    yield ""
    yield "| recogniser | SR | rank-1 [95 %] | TAR at 99.9 % [95 %] | d' [95 %] | FMR [95 %] |"
    yield "|---|---|---|---|---|---|"
    for judge in [*data.judges, *data.others]:
        for sr in data.sets(judge).get(HARD, {}):
            scores = data.scores(judge, HARD, sr, trained_on=False)
            cells = [
                _range(scores.rank1(data.weights)),
                _range(scores.accepted(data.weights)),
                _range(scores.separation(data.weights), 2),
                _range(scores.fmr(data.threshold(judge, trained_on=False))(data.weights), 5),
            ]
            yield f"| {judge.title} | {sr} | " + " | ".join(cells) + " |"
    yield ""


def _range(values: Array, digits: int = 3) -> str:
    low, high = np.nanquantile(values[1:], [0.025, 0.975])
    return f"{values[0]:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def _bars(data: Measurement) -> Iterator[str]:
    yield f"## The bars, on `{HARD}`"
    yield ""
    best = best_combination(data)
    if best is None:
        yield "No combination of what is shipped was measured."
        return
    judge, sr = best
    yield f"The combination with the highest d' among those shipped: `{sr}` with {judge.title}."
    yield ""
    yield "| bar | measured | met |"
    yield "|---|---|---|"
    base, ours = data.judges[0], data.system(judge, HARD, sr)
    for title, system, reference in _comparisons(data, judge, sr):
        genuine, first, apart = (system.minus(reference, name) for name in ("mean genuine", "rank-1", "d'"))
        enough = _yes(genuine[0] >= GENUINE_BAR and genuine[1] > 0)
        yield f"| mean genuine at least +{GENUINE_BAR:.2f}: {title} | {_interval(genuine)} | {enough} |"
        yield f"| rank-1 not lower: {title} | {_interval(first)} | {_yes(first[0] >= 0)} |"
        yield f"| d' higher: {title} | {_interval(apart, 2)} | {_yes(apart[1] > 0)} |"
        ratio = system.value("FMR") / max(reference.value("FMR"), 1e-12)
        yield f"| FMR at most {FMR_BAR} times: {title} | {ratio:.2f} times | {_yes(ratio <= FMR_BAR)} |"
    for changed, before in _taught(data, judge):
        kept = data.system(changed, "originals", "none").minus(data.system(before, "originals", "none"), "rank-1")
        title = f"rank-1 of the originals at most {ORIGINALS_BAR} lower: {changed.title} against {before.title}"
        yield f"| {title} | {_interval(kept)} | {_yes(kept[0] >= -ORIGINALS_BAR)} |"
    for name in ("rank-1", "mean genuine"):
        low, high = data.system(base, HARD, BASE).value(name), data.system(base, "originals", "none").value(name)
        closed = (ours.value(name) - low) / max(high - low, 1e-12)
        met = _yes(closed >= 0.5)
        yield f"| goal: half of the gap between bicubic and the originals, {name} | {closed:.0%} | {met} |"


def _taught(data: Measurement, best: Judge) -> list[tuple[Judge, Judge]]:
    """Return recognisers that were taught, each with one that taught it; one on the probes only if that is best."""
    taught = [judge for judge in data.judges if judge == best or judge.gallery == judge.probes]
    pairs = [(judge, data.judge(name)) for judge in taught for name in judge.teachers]
    return [(judge, teacher) for judge, teacher in pairs if teacher is not None]


def _comparisons(data: Measurement, best: Judge, best_sr: str) -> Iterator[tuple[str, System, System]]:
    """Yield what is held against the bars: title, system, and the bicubic enlargement that it is compared with."""
    for judge, teacher in _taught(data, best):
        sr = best_sr if judge == best else BASE
        title = f"`{sr}` with {judge.title} against bicubic with {teacher.title}"
        yield title, data.system(judge, HARD, sr), data.system(teacher, HARD, BASE)
    # What SR alone does, for the best recogniser and those that were taught nothing.
    for judge in dict.fromkeys([best, data.judges[0], *data.others]):
        alone = best_trained_sr(data, judge)
        if alone is not None:
            title = f"`{alone}` against bicubic, both {judge.title}"
            yield title, data.system(judge, HARD, alone), data.system(judge, HARD, BASE)


def best_combination(data: Measurement) -> tuple[Judge, str] | None:
    """Return the recogniser and SR backend with the highest d' on `hard`."""
    found = [(judge, sr) for judge in data.judges for sr in data.sets(judge).get(HARD, {})]
    if not found or BASE not in data.sets(data.judges[0]).get(HARD, {}):
        return None
    return max(found, key=lambda pair: data.system(pair[0], HARD, pair[1]).value("d'"))


def best_trained_sr(data: Measurement, judge: Judge) -> str | None:
    """Return the trained SR backend with the highest d' on `hard` for one recogniser."""
    found = [sr for sr in data.sets(judge).get(HARD, {}) if sr not in ("none", BASE)]
    return max(found, key=lambda sr: data.system(judge, HARD, sr).value("d'")) if found else None


def _yes(met: bool) -> str:
    return "yes" if met else "**no**"
