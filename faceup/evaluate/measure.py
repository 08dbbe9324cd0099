"""What is measured of one SR system: similarities, ranks, error rates, and rates at thresholds from other people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from faceup.evaluate.rows import Row, row
from faceup.evaluate.splits import Split
from faceup.evaluate.systems import Mask, System
from faceup.metrics.bootstrap import Array, Interval, Statistic, mean_statistic, ratio_statistic, subject_interval
from faceup.metrics.face_quality import EYE_EDGES, eye_distance_band
from faceup.metrics.identification import threshold_at_fpir
from faceup.metrics.significance import zero_error_bound

RANKS = (1, 5, 10)
# An operating point needs this many expected errors to be worth a number (the 'rule of 30' asks for three times it).
FEWEST_ERRORS = 10


@dataclass(frozen=True, slots=True)
class Settings:
    """How to measure.

    Attributes:
        seed: of bootstrap and split.
        rounds: resamples of means and rates.
        pair_rounds: resamples of statistics of all comparisons, which cost more.
        fmr_targets: false match rates that thresholds are chosen for.
        fpir_targets: false positive identification rates that thresholds are chosen for.
    """

    seed: int = 0
    rounds: int = 2000
    pair_rounds: int = 500
    fmr_targets: tuple[float, ...] = (0.1, 0.01, 0.001)
    fpir_targets: tuple[float, ...] = (0.1, 0.01)


def strata(system: System) -> Iterator[tuple[str, Mask]]:
    """Yield name and probes of every stratum: all, by distance and camera, and by quality of the reference's picture.

    Sharpness and detector score are cut into thirds; probes without a face there are a stratum of their own.
    """
    about = system.about
    yield "all", np.ones(len(system.probes), bool)
    for key in ("distance", "camera"):
        values = [v for v in dict.fromkeys(about[key]) if v]
        if len(values) > 1:
            for value in sorted(values):
                yield f"{key} = {value}", (about[key] == value).to_numpy()
    bands = [eye_distance_band(v, EYE_EDGES) for v in about["eye_px"]]
    for band in (eye_distance_band(v, EYE_EDGES) for v in (0.0, *EYE_EDGES)):
        yield f"eyes {band}", np.array([b == band for b in bands])
    for key, name in (("sharpness", "sharpness"), ("score", "detector score")):
        values_of = about[key].to_numpy(np.float64)
        known = values_of[~np.isnan(values_of)]
        if len(np.unique(known)) >= 3:
            low, high = np.quantile(known, [1 / 3, 2 / 3])
            if low == high:  # A detector that is always sure makes no thirds.
                continue
            with np.errstate(invalid="ignore"):
                yield f"{name}: lowest third", values_of <= low
                yield f"{name}: middle third", (values_of > low) & (values_of <= high)
                yield f"{name}: highest third", values_of > high
    yield f"no face after {about['reference'].iloc[0]}", about["eye_px"].isna().to_numpy()


def closed_set(system: System, settings: Settings) -> list[Row]:
    """Return average similarities, failures to acquire and ranks of every stratum that has a probe."""
    rows = []
    ranks = system.ranks()
    similarity = np.where(np.isnan(system.printed), 0.0, system.printed)
    for stratum, probes in strata(system):
        mated = probes & system.mated
        if not probes.any():
            continue
        rows.append(rate_row(system, "fta", system.failed, probes, stratum, settings))
        if not mated.any():
            continue
        people = len(np.unique(system.probe_person[mated]))
        for name, values, which in (
            ("average_paper", similarity, mated),
            ("average_detected", system.printed, mated & ~np.isnan(system.printed)),
        ):
            means = system.means(values, which)
            interval = subject_interval(mean_statistic(means), len(means), rounds=settings.rounds, seed=settings.seed)
            rows.append(row(system.name, name, interval, stratum=stratum, total=int(which.sum()), people=len(means)))
        depths = RANKS if stratum == "all" else RANKS[:1]
        for depth in depths:
            if depth <= len(system.gallery_person) or depth == 1:
                hit = (ranks >= 1) & (ranks <= depth)
                rows.append(rate_row(system, f"rank{depth}", hit, mated, stratum, settings, people=people))
    return rows


def rate_row(
    system: System,
    metric: str,
    hits: Mask,
    probes: Mask,
    stratum: str,
    settings: Settings,
    *,
    people: int | None = None,
    part: str = "all",
    at: str = "",
) -> Row:
    """Return the row of a rate: `hits` among `probes`, with its interval over people.

    Args:
        system: whose probes.
        metric: name of the rate.
        hits: (P,) what is counted.
        probes: (P,) the denominator.
        stratum: name of these probes.
        settings: of the bootstrap.
        people: over how many people; counted from `probes` if absent.
        part: of metrics.csv.
        at: operating point.
    """
    count, total = int((hits & probes).sum()), int(probes.sum())
    people = len(np.unique(system.probe_person[probes])) if people is None else people
    each = system.sums(np.ones(len(hits)), probes)
    statistic = ratio_statistic(system.sums(hits, probes), each)
    interval = subject_interval(statistic, len(each), rounds=settings.rounds, seed=settings.seed)
    return row(
        system.name,
        metric,
        bounded(interval, people),
        part=part,
        stratum=stratum,
        at=at,
        count=count,
        total=total,
        people=people,
        note=_extreme(count, total, people),
    )


def bounded(interval: Interval, people: int) -> Interval:
    """Return the interval of a rate that is 0 or 1, which the bootstrap cannot give: the rule of three over people.

    People are independent, probes of one person are not.
    """
    if interval.estimate not in (0, 1):
        return interval
    bound = zero_error_bound(people)
    ends = (0.0, bound) if interval.estimate == 0 else (1 - bound, 1.0)
    return Interval(interval.estimate, *ends, "rule of three")


def _extreme(count: float, total: float, people: int) -> str:
    """Return what to say of a rate of which nothing, or everything, was seen; see `bounded`."""
    if not total > 0 or count not in (0, total):
        return ""
    return f"{'none' if count == 0 else 'all'} of {total:.0f}: bound of {people} independent people (rule of three)"


def verification(system: System, settings: Settings) -> list[Row]:
    """Return EER, TAR at fixed FMR and d' over all probes and by distance."""
    rows = []
    for stratum, probes in strata(system):
        if stratum != "all" and not stratum.startswith("distance"):
            continue
        compared = system.comparisons(probes)
        if not len(compared.genuine) or not compared.impostors:
            continue
        people = len(np.unique(system.probe_person[probes]))
        impostors = compared.impostors
        shared = {"stratum": stratum, "people": people}
        for metric, at, statistic in (
            ("eer", "", compared.eer()),
            *(("tar", f"FMR {target:g}", compared.tar_at_fmr(target)) for target in settings.fmr_targets),
            ("d_prime", "", compared.d_prime()),
        ):
            interval = pair_interval(statistic, system.units, settings, compared.cost)
            interval = interval if metric == "d_prime" else bounded(interval, people)
            few = too_few(float(at.removeprefix("FMR ")), impostors) if at else ""
            note = "; ".join(filter(None, (few, compared.note)))
            rows.append(row(system.name, metric, interval, at=at, total=len(compared), note=note, **shared))  # type: ignore[arg-type]
    return rows


def pair_interval(statistic: Statistic, people: int, settings: Settings, cost: int) -> Interval:
    """Return a statistic of all comparisons with its interval over people.

    Args:
        statistic: weights of the people to values.
        people: their number.
        settings: resamples and seed.
        cost: how many weights the statistic makes of one resample.
    """
    rounds, seed = settings.pair_rounds, settings.seed
    return subject_interval(statistic, people, rounds=rounds, seed=seed, method="percentile", comparisons=cost)


def too_few(target: float, comparisons: int) -> str:
    """Return a note where so few comparisons are at hand that a rate of `target` would show fewer than ten errors."""
    if target * comparisons >= FEWEST_ERRORS:
        return ""
    return f"only {comparisons} impostor comparisons: a rate of {target:g} rests on {target * comparisons:.1f} errors"


def at_thresholds(system: System, split: Split, settings: Settings) -> tuple[list[Row], list[dict[str, object]]]:
    """Return the rates of the test half at thresholds of the development half, and what to store of the thresholds."""
    rows: list[Row] = []
    stored: list[dict[str, object]] = []
    dev_probes, dev_gallery = split.masks(system, split.development)
    test_probes, test_gallery = split.masks(system, split.test)
    dev, test = system.comparisons(dev_probes, dev_gallery), system.comparisons(test_probes, test_gallery)
    if not dev.impostors or not len(test.genuine) or not test.impostors:
        return rows, stored
    people = len(np.unique(system.probe_person[test_probes]))
    fta = _fta(system, test_probes)
    for target in settings.fmr_targets:
        threshold = dev.threshold(target)
        at = f"FMR {target:g}"
        seen = dev.accepted(threshold)
        note = "; ".join(filter(None, (too_few(target, dev.impostors), dev.note)))
        stored.append(
            _stored(system, "FMR", target, threshold, split, f"{seen} of {dev.impostors} impostors accepted", note)
        )
        fmr, fnmr = test.fmr(threshold), test.fnmr(threshold)
        counts = {
            "fmr": (test.accepted(threshold), test.impostors),
            "fnmr": (int((test.genuine < threshold).sum()), len(test.genuine)),
        }
        for metric, statistic in (("fmr", fmr), ("fnmr", fnmr), *_with_failures(fmr, fnmr, fta)):
            interval = bounded(pair_interval(statistic, system.units, settings, test.cost), people)
            said = note if metric in counts else "of all attempts, with the failures to acquire"
            count, total = counts.get(metric, (float("nan"), float("nan")))
            extreme = _extreme(count, total, people)
            rows.append(
                row(
                    system.name,
                    metric,
                    interval,
                    part="test",
                    at=at,
                    count=count,
                    total=total,
                    people=people,
                    note="; ".join(filter(None, (extreme, said))),
                )
            )
    more, kept = _open_set(system, split, settings)
    return rows + more, stored + kept


def _fta(system: System, probes: Mask) -> Statistic:
    """Return the failure-to-acquire rate of some probes as a statistic of all people's weights."""
    own = system.probe_person[probes]
    failed = np.bincount(own, weights=system.failed[probes], minlength=system.units)
    return ratio_statistic(failed, np.bincount(own, minlength=system.units))


def _with_failures(fmr: Statistic, fnmr: Statistic, fta: Statistic) -> tuple[tuple[str, Statistic], ...]:
    """Return FAR and FRR as statistics (`faceup.metrics.verification.with_failures`)."""

    def far(weights: Array) -> Array:
        return fmr(weights) * (1 - fta(weights))

    def frr(weights: Array) -> Array:
        return fta(weights) + fnmr(weights) * (1 - fta(weights))

    return ("far", far), ("frr", frr)


def _open_set(system: System, split: Split, settings: Settings) -> tuple[list[Row], list[dict[str, object]]]:
    rows: list[Row] = []
    stored: list[dict[str, object]] = []
    halves = []
    for part in (split.development, split.test):
        probes, gallery = split.masks(system, part)
        halves.append((probes, gallery, bool((probes & ~system.mated).any())))
    # Both halves must search for the same kind of non-mated people.
    leave_out = not all(strangers for *_, strangers in halves)
    kind = "each person searched without the own gallery picture" if leave_out else "people who are not enrolled"
    tops = [system.tops(probes, gallery, leave_out=leave_out) for probes, gallery, _ in halves]
    probes, gallery, _ = halves[1]
    mated = probes & system.mated
    if not len(tops[0]) or not len(tops[1]) or not mated.any():
        return rows, stored
    within = system.ranks(gallery)
    own = system.own_scores()
    # One search per probe of the test half, non-mated as `kind` says; NaN where none is made or no face was found,
    # which is at or above no threshold, not even one that lets every candidate pass.
    searched = probes if leave_out else probes & ~system.mated
    every_top = np.full(len(system.probes), np.nan)
    every_top[searched] = tops[1]
    said = f"N = {int(gallery.sum())}; {kind}"
    for target in settings.fpir_targets:
        threshold = threshold_at_fpir(tops[0], target)
        at = f"FPIR {target:g}"
        seen = int((tops[0] >= threshold).sum())
        basis = f"{seen} of {len(tops[0])} non-mated searches gave a candidate; N = {int(halves[0][1].sum())}"
        note = too_few(target, len(tops[0])).replace("impostor comparisons", "non-mated searches")
        stored.append(_stored(system, "FPIR", target, threshold, split, f"{basis}; {kind}", note))
        for metric, hits, searches in (
            ("fpir", every_top >= threshold, searched),
            ("fnir", ~((own >= threshold) & (within == 1)), mated),
        ):
            made = rate_row(system, metric, hits, searches, "all", settings, part="test", at=at)
            notes = (made.note, note, said if metric == "fpir" else "")
            rows.append(replace(made, note="; ".join(filter(None, notes))))
    return rows, stored


def _stored(
    system: System, kind: str, target: float, threshold: float, split: Split, basis: str, note: str
) -> dict[str, object]:
    return {
        "system": system.name,
        "rate": kind,
        "target": target,
        "threshold": None if np.isinf(threshold) else threshold,
        "score": "cosine, accepted at or above the threshold",
        "chosen_on": f"development half: {split.source}",
        "basis": basis,
        "note": note,
    }
