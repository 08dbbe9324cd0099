"""Table 5 as CSV, Markdown, LaTeX and in the terminal."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from faceup.errors import ConfigError, DataError
from faceup.metrics.table5 import COLUMNS, FIXED, probes_per_candidate, table5
from faceup.report.tables import layout, note, terminal_table, to_csv, to_latex, to_markdown, write_tables
from faceup.report.text import number, printable, shortened

RECORD: dict[str, Any] = {"recipe": {"similarity": "clipped"}}
NASTY = ["a|b", "=1+1", "[red]x[/red]", "c_d*e`f", "<b>&amp;", "new\nline", "%$#{}~^\\", "\x1b[31m", "[x]", "*", '"']


def similarity(cells: Mapping[str, Mapping[str, float | None]]) -> pd.DataFrame:
    """Return a frame with one probe per subject from {sr: {subject: similarity or None}}."""
    rows = [
        (sr, f"p-{subject}", subject, subject, 1, int(value is not None), value, 1 if value is not None else None)
        for sr, line in cells.items()
        for subject, value in line.items()
    ]
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["similarity"] = frame["similarity"].astype(float)
    return frame


THREE = similarity(
    {
        "none": {"A": None, "B": 0.5, "C": 0.2500004},
        "bicubic": {"A": 0.25, "B": 0.5, "C": 0.2499996},
        "sisn:my file.pt": {"A": 0.125, "B": 0.4999999, "C": None},
    }
)
ORDER = ["none", "bicubic", "sisn:my file.pt"]


def markdown_cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown_has_the_layout_of_the_paper() -> None:
    table = table5(THREE, ORDER)
    text = to_markdown(table, note(table, probes_per_candidate(THREE), "clipped"))
    head, rule, *rows = markdown_cells(text)
    assert head == [
        "Method",
        "A",
        "B",
        "C",
        "Average (not detected = 0)",
        "Average (detected only)",
        "Faces found",
        "Rank-1",
    ]
    assert rule == [":--", *["--:"] * 7]
    assert rows == [
        # 0.2500004 and 0.2499996 are both 0.250000, and both are best.
        ["LR image", "-", "**0.500000**", "**0.250000**", "0.250000", "**0.375000**", "2/3", "2/3"],
        ["bicubic", "**0.250000**", "**0.500000**", "**0.250000**", "**0.333333**", "0.333333", "**3/3**", "**3/3**"],
        ["sisn:my file.pt", "0.125000", "**0.500000**", "-", "0.208333", "0.312500", "2/3", "2/3"],
    ]
    for part in ("1 probe per candidate, 3 in all", "clipped: cosine, negative as 0", "a probe without a face as 0"):
        assert part in text
    assert "A similarity is no match without a threshold and its error rate." in text


def test_csv_keeps_every_number_in_its_own_cell() -> None:
    table = table5(THREE, ORDER)
    rows = list(csv.reader(io.StringIO(to_csv(table, "half"))))
    assert rows[0] == ["sr", "A", "B", "C", *FIXED, "similarity"]
    assert rows[1] == [
        "LR image",
        "-",
        "0.500000",
        "0.250000",
        "0.250000",
        "0.375000",
        "2",
        "3",
        "0.666667",
        "2",
        "0.666667",
        "half",
    ]
    assert rows[3][:4] == ["sisn:my file.pt", "0.125000", "0.500000", "-"]
    assert len(rows) == 4


def test_csv_names_collide_with_nothing_and_run_nowhere() -> None:
    frame = similarity({"-x": {"Rank-1": 0.5, "average_paper": 0.25, "=cmd": 0.125, "@x": None, "similarity": 0.75}})
    rows = list(csv.reader(io.StringIO(to_csv(table5(frame, ["-x"]), "clipped"))))
    assert rows[1][0] == "'-x"
    assert rows[0][1:6] == ["'=cmd", "'@x", "Rank-1", "candidate:average_paper", "candidate:similarity"]
    assert rows[1][1:6] == ["0.125000", "-", "0.500000", "0.250000", "0.750000"]
    assert len(set(rows[0])) == len(rows[0])


@pytest.mark.parametrize("name", NASTY)
def test_names_cannot_break_out_of_markdown(name: str) -> None:
    frame = similarity({"none": {name: 0.5, "other": 0.25}})
    table = table5(frame, ["none"])
    text = to_markdown(table, note(table, probes_per_candidate(frame), "cosine"))
    assert {len(row) for row in markdown_cells(text)} == {7}
    head = markdown_cells(text)[0]
    assert "other" in head
    shown_as = head[1 + sorted([name, "other"]).index(name)]
    unescaped = re.sub(r"\\(.)", r"\1", shown_as).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert unescaped == printable(name)
    assert not re.search(r"(?<!\\)[\[\]|`_$]|<|>", shown_as)


@pytest.mark.parametrize("name", NASTY)
def test_names_cannot_break_out_of_latex(name: str) -> None:
    frame = similarity({"none": {name: 0.5, "other": 0.25}})
    table = table5(frame, ["none"])
    text = to_latex(table, note(table, probes_per_candidate(frame), "clipped"))
    row = next(line for line in text.splitlines() if "Method &" in line)
    assert len(re.findall(r"(?<!\\)&", row)) == 6
    heading = re.split(r"(?<!\\)&", row)[1 + sorted([name, "other"]).index(name)].strip()
    names = {r"\textbackslash": "\\", r"\textasciitilde": "~", r"\textasciicircum": "^", r"\textless": "<"}
    names |= {r"\textgreater": ">", r"\textbar": "|", r"\char34": '"'}
    # Every character is either harmless or one of the escapes.
    escapes = r"\\text(?:backslash|asciitilde|asciicircum|less|greater|bar)\{\}|\{\\char34\}|\{[\[\]*]\}|\\[&%$#_{}]"
    pattern = rf"{escapes}|[^\\{{}}%$#&_^~\[\]*]"
    tokens = re.findall(pattern, heading)
    assert "".join(tokens) == heading
    plain = "".join(names.get(t.strip("{}"), t.strip("{}").removeprefix("\\") or t[-1]) for t in tokens)
    assert plain == printable(name)


def test_latex_compiles(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    frame = similarity({"none": {**dict.fromkeys(NASTY, 0.5), "é": None}, "sisn": dict.fromkeys([*NASTY, "é"], 0.25)})
    table = table5(frame, ["none", "sisn"])
    body = to_latex(table, note(table, probes_per_candidate(frame), "clipped"))
    assert body.count(r"\begin{tabular}") == 3  # twelve candidates in two blocks, then averages and rates
    (tmp_path / "t.tex").write_text(
        rf"\documentclass{{article}}\begin{{document}}{body}\end{{document}}", encoding="utf-8"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]


def test_latex_blocks_hold_every_column_once() -> None:
    subjects = [f"{i:03d}" for i in range(40)]
    frame = similarity({"none": {subject: 0.01 * i for i, subject in enumerate(subjects)}})
    text = to_latex(table5(frame, ["none"]), "foot")
    heads = [re.findall(r"\b\d{3}\b", line) for line in text.splitlines() if line.lstrip().startswith("Method &")]
    assert [name for head in heads for name in head] == subjects
    assert max(map(len, heads)) == 6
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == text.count(r"\caption{") == 2
    assert text.count("Rank-1") == 1


def rendered(frame: pd.DataFrame, order: list[str], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(terminal_table(table5(frame, order), frame, RECORD, width=width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("width", "shown"), [(60, 1), (80, 3), (120, 6), (300, 6)])
def test_the_terminal_shows_what_fits_and_counts_the_rest(width: int, shown: int) -> None:
    subjects = [f"s{i:03d}" for i in range(102)]
    cells = {subject: 0.5 + 0.001 * i for i, subject in enumerate(subjects)}
    text = rendered(similarity({"none": cells, "bicubic": cells, "sisn": cells}), ["none", "bicubic", "sisn"], width)
    flat = " ".join(text.split())
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert f"({102 - shown} more candidates in table.csv)" in flat
    assert [name for name in subjects if re.search(rf"\b{name}\b", text)] == subjects[:shown]
    for part in ("102/102", "0.550500", "LR image", "Probes per candidate: 1.", "no match without a threshold"):
        assert part in flat


def test_the_terminal_takes_names_as_names() -> None:
    text = rendered(similarity({"none": dict.fromkeys(["[red]x", "\x1b[31m", "y"], 0.5)}), ["none"], 120)
    assert "[red]x" in text
    assert "\x1b" not in text
    assert "\\x1b[31m" in text
    assert "more candidate" not in text


def test_the_files_are_the_rendered_texts(tmp_path: Path) -> None:
    table = table5(THREE, ORDER)
    paths = write_tables(table, THREE, RECORD, tmp_path)
    foot = note(table, probes_per_candidate(THREE), "clipped")
    assert [p.name for p in paths] == ["table.csv", "table.md", "table.tex"]
    texts = [to_csv(table, "clipped"), to_markdown(table, foot), to_latex(table, foot)]
    assert [p.read_bytes().decode() for p in paths] == texts
    assert sorted(p.name for p in tmp_path.iterdir()) == ["table.csv", "table.md", "table.tex"]


def test_a_folder_that_cannot_be_written_is_an_error_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"table\.csv: cannot be written"):
        write_tables(table5(THREE, ORDER), THREE, RECORD, tmp_path / "file")


def test_an_unknown_similarity_is_named() -> None:
    with pytest.raises(ConfigError, match="clipped"):
        note(table5(THREE, ORDER), probes_per_candidate(THREE), "cliped")


def test_a_table_without_candidates_is_still_a_table() -> None:
    frame = THREE.iloc[:0]
    table = table5(frame, ["none"])
    text = to_markdown(table, note(table, probes_per_candidate(frame), "clipped"))
    assert markdown_cells(text)[2] == ["LR image", "-", "-", "0/0", "0/0"]
    assert "No candidate has both" in text
    assert r"\begin{tabular}{l*{4}{r}}" in to_latex(table, "foot")
    assert "0/0" in rendered(frame, ["none"], 80)


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=5))
@settings(max_examples=40, deadline=None)
def test_the_best_of_a_column_are_those_that_read_highest(values: list[float | None]) -> None:
    labels = [f"m{i}" for i in range(len(values))]
    frame = similarity({label: {"x": value} for label, value in zip(labels, values, strict=True)})
    column = layout(table5(frame, labels))[0]
    wanted = ["-" if value is None else f"{np.float64(value).round(6):.6f}" for value in values]
    assert list(column.cells) == wanted
    highest = max((cell for cell in wanted if cell != "-"), default=None)
    assert list(column.best) == [cell == highest for cell in wanted]


@given(st.text(max_size=200), st.integers(3, 60))
def test_shown_names_are_short_and_hide_nothing(text: str, limit: int) -> None:
    short = shortened(text, limit)
    assert len(short) <= limit
    assert not re.search("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", short)
    if text.isascii() and text.isprintable() and len(text) <= limit:
        assert short == text


@pytest.mark.parametrize(
    ("value", "text"), [(-1e-9, "0.000000"), (float("nan"), "-"), (-0.25, "-0.250000"), (1, "1.000000")]
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text
