"""The method of the benchmarks: what is called how often, what is written down, what is printed."""

from __future__ import annotations

import doctest
from typing import Any

import jsonschema
import pytest

from benchmarks import method
from benchmarks.method import Bar, Column, Table, interleaved, markdown, record, samples
from tests.benchmarks.schema import check_record


def small(**changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "inputs": "nothing",
        "rounds": 3,
        "warm_ups": 1,
        "threads": 1,
        "arguments": ["--shared", "/somewhere/else", "--json", "/tmp/x.json", "--rounds", "3"],
    }
    columns = [Column("system", "system"), Column("rate", "a second", 1), Column("note", "note")]
    rows: list[dict[str, method.Cell]] = [
        {"system": "a|b", "rate": samples([3.0, 1.0, 2.04]), "note": None, "left out": 1},
        {"system": "c", "rate": 1234.56, "note": "not installed"},
    ]
    bars = [
        Bar("quick enough", "at least", 3, 3.0, "times"),
        Bar("small", "at most", 2, 2.01),
        Bar("unknown", "at most", 2, None),
    ]
    return record("small", "About.", [Table("One", columns, rows)], bars, **{**settings, **changes})


def test_doctests() -> None:
    assert doctest.testmod(method).failed == 0


def test_every_system_is_called_in_every_round_and_the_order_turns() -> None:
    calls: list[str] = []
    systems = {name: (lambda name=name: calls.append(name)) for name in "abc"}
    seconds = interleaved(systems, rounds=4, warm_ups=2)
    assert "".join(calls) == "aabbcc" + "abc" + "bca" + "cab" + "abc"
    assert {name: len(found) for name, found in seconds.items()} == {"a": 4, "b": 4, "c": 4}
    assert all(value >= 0 for found in seconds.values() for value in found)


def test_seconds_belong_to_the_system_that_took_them(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(method.time, "perf_counter", lambda: now[0])

    def taking(seconds: float) -> Any:
        return lambda: now.__setitem__(0, now[0] + seconds)

    assert interleaved({"slow": taking(2.0), "quick": taking(0.5)}, rounds=3) == {"slow": [2.0] * 3, "quick": [0.5] * 3}


def test_rates_and_median() -> None:
    assert method.rates(6, [1.0, 2.0, 3.0]) == {"samples": [6.0, 3.0, 2.0]}
    assert method.median(method.rates(6, [1.0, 2.0, 3.0])) == 3.0
    assert method.median([4.0, 1.0]) == 2.5


@pytest.mark.parametrize(
    ("sense", "value", "met"),
    [("at least", 3.0, True), ("at least", 2.99, False), ("at most", 3.0, True), ("at most", 3.01, False),
     ("at least", None, None)],
)  # fmt: skip
def test_bars(sense: Any, value: float | None, met: bool | None) -> None:
    assert Bar("x", sense, 3.0, value).met is met


def test_the_record_has_the_schema_and_hides_folders() -> None:
    done = small()
    check_record(done)
    assert done["command"] == "python -m benchmarks.bench_small --shared SHARED --rounds 3"
    assert done["machine"]["cores"] >= 1
    assert done["machine"]["memory_gib"] > 0.1
    assert {"python", "numpy", "torch", "pandas"} <= set(done["versions"])
    assert done["method"] == {
        "inputs": "nothing", "inputs_sha256": None, "rounds": 3, "warm_ups": 1, "threads": 1, "seed": 0
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"tables": []},
        {"method": {}},
        {"bars": [{"text": "x"}]},
        {"benchmark": "With Blanks"},
        {"more": 1},
        {"date": "yesterday"},
    ],
)
def test_the_schema_refuses(change: dict[str, Any]) -> None:
    with pytest.raises((jsonschema.ValidationError, AssertionError)):
        check_record({**small(), **change})


def test_markdown() -> None:
    lines = markdown(small(notes=["Read this."]), level=2).splitlines()
    assert lines[0] == "## small"
    assert "| a\\|b | 2.0 [1.0, 3.0] | - |" in lines
    assert "| c | 1,234.6 | not installed |" in lines
    assert "| quick enough: at least 3 times | 3.00 times | yes |" in lines
    assert "| small: at most 2 | 2.01 | **no** |" in lines
    assert "| unknown: at most 2 | - | not measured |" in lines
    assert lines[-1] == "Read this."


def test_publish_writes_what_it_prints(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    done = small()
    method.publish(done, tmp_path / "new" / "small.json")
    assert json.loads((tmp_path / "new" / "small.json").read_text(encoding="utf-8")) == done
    assert capsys.readouterr().out == markdown(done) + "\n"


def test_peak_memory_never_falls() -> None:
    before = method.peak_mib()
    held = bytearray(64 * 2**20)
    assert method.peak_mib() >= before > 1
    assert len(held) == 64 * 2**20


def test_the_environment_of_a_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    monkeypatch.setenv("SOMETHING", "else")
    two, free = method.environment(2), method.environment(None)
    assert (two["OMP_NUM_THREADS"], two["MKL_NUM_THREADS"], two["SOMETHING"]) == ("2", "2", "else")
    assert "OMP_WAIT_POLICY" not in two
    assert {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY"} & set(free) == set()


def test_digest_tells_inputs_apart() -> None:
    assert method.digest([b"a", b"b"]) != method.digest([b"ab"])
    assert method.digest([b"a", b"b"]) == method.digest([b"a", b"b"])
