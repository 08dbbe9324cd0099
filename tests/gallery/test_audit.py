"""The audit log: a whole chain verifies, and whatever is done to it is found."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from faceup.cli.main import main
from faceup.errors import DataError
from faceup.gallery import audit


@pytest.fixture
def log(tmp_path: Path) -> Path:
    for i in range(5):
        audit.append(tmp_path, "search", {"top": i}, purpose=f"case {i}")
    return tmp_path


def lines(folder: Path) -> list[str]:
    return (folder / audit.LOG).read_text().splitlines(keepends=True)


def test_a_whole_chain_verifies(log: Path) -> None:
    found = audit.verify(log)
    assert (found.entries, found.torn) == (5, 0)
    entries = [json.loads(line) for line in lines(log)]
    assert [entry["number"] for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry["purpose"] for entry in entries] == [f"case {i}" for i in range(5)]
    assert found.head == entries[-1]["hash"]
    assert all(entry["user"] and entry["time"].endswith("+00:00") for entry in entries)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: [text[0], text[1].replace("case 1", "case 9"), *text[2:]], "line 2: the entry was changed"),
        (lambda text: text[:2] + text[3:], "line 3: entries before it were removed"),
        (lambda text: [text[0], text[2], text[1], *text[3:]], "removed, inserted or reordered"),
        (lambda text: text[:2] + text[1:], "removed, inserted or reordered"),
        (lambda text: text[1:], "line 1: entries before it were removed"),
        (lambda text: [*text[:2], "no entry\n", *text[2:]], "a line before it is no entry"),
        (lambda text: [*text, "no entry\n"], "the last line is no entry"),
        (lambda text: [*text[:4], '{"purpose": "forged", ' + text[4][1:]], "line 5: the entry was changed"),
        (lambda text: [*text[:2], "\n", *text[2:]], "line 4: a line before it is no entry"),
        (lambda text: [*text, "\n"], "the last line is no entry"),
    ],
)
def test_changes_are_found(log: Path, change, message: str) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    (log / audit.LOG).write_text("".join(change(lines(log))))
    with pytest.raises(DataError, match=message):
        audit.verify(log)


def test_a_changed_entry_whose_hash_is_made_anew_breaks_the_next(log: Path) -> None:
    text = lines(log)
    entry = json.loads(text[1])
    entry["purpose"] = "another"
    entry["hash"] = audit._hash(entry)
    text[1] = json.dumps(entry, sort_keys=True) + "\n"
    (log / audit.LOG).write_text("".join(text))
    with pytest.raises(DataError, match="line 3: entries before it"):
        audit.verify(log)


def test_a_cut_off_end_is_found_by_a_noted_head(log: Path) -> None:
    head = audit.verify(log).head
    (log / audit.LOG).write_text("".join(lines(log)[:3]))
    assert audit.verify(log).entries == 3
    with pytest.raises(DataError, match="no entry has the hash"):
        audit.verify(log, head)


def test_a_line_cut_off_by_a_crash_is_told_and_the_log_goes_on(log: Path) -> None:
    whole = (log / audit.LOG).read_bytes()
    (log / audit.LOG).write_bytes(whole[:-30])
    assert (audit.verify(log).entries, audit.verify(log).torn) == (4, 1)
    audit.append(log, "search", {}, purpose="after the crash")
    found = audit.verify(log)
    assert (found.entries, found.torn) == (5, 1)
    text = lines(log)
    (log / audit.LOG).write_text("".join([*text[:4], "forged\n", *text[5:]]))
    with pytest.raises(DataError, match="a line before it is no entry"):
        audit.verify(log)


def _append(folder: str) -> None:
    for i in range(10):
        audit.append(Path(folder), "search", {"i": i})


def test_two_processes_at_once_make_one_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_append, args=(str(tmp_path),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert audit.verify(tmp_path).entries == 20


def test_the_command(log: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify", str(log)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("5 entries, the chain is whole; last hash ")
    assert main(["audit", "verify", str(log), "--head", printed.split()[-1]]) == 0
    (log / audit.LOG).write_text("".join(lines(log)[1:]))
    assert main(["audit", "verify", str(log)]) == 1
    assert main(["audit", "verify", str(log / "nowhere")]) == 1
