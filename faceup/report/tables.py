"""Table 5 as text: CSV, Markdown, LaTeX and for the terminal. Every function is pure but `write_tables`."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from faceup.errors import unknown_name
from faceup.files import csv_text, whole_or_not_at_all
from faceup.metrics.table5 import FIXED, candidate_columns, candidate_subject, probes_per_candidate
from faceup.report.text import DASH, counted, method_name, number, shortened

TITLE = "Face similarity by super-resolution method"
METHOD, PAPER, DETECTED, FOUND, RANK1 = (
    "Method",
    "Average (not detected = 0)",
    "Average (detected only)",
    "Faces found",
    "Rank-1",
)
SIMILARITIES = {"clipped": "cosine, negative as 0", "cosine": "cosine", "half": "(cosine + 1) / 2"}
CAUTION = "A similarity is no match without a threshold and its error rate."
BLOCK_CANDIDATES = 6
_FLOAT_BLOCKS = 5
_NARROW = {
    PAPER: "Average,\nnot det.\n= 0",
    DETECTED: "Average,\ndetected\nonly",
    FOUND: "Faces\nfound",
    RANK1: "Rank-1",
}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table as it is shown, without the column of the methods.

    Attributes:
        heading: a subject as its manifest names it, not yet safe to print, or a fixed heading.
        kind: what the cells are.
        cells: one text per SR system.
        best: whether a cell is the best of its column; equal bests are all marked.
    """

    heading: str
    kind: Literal["candidate", "average", "rate"]
    cells: tuple[str, ...]
    best: tuple[bool, ...]


def layout(table: pd.DataFrame) -> list[Column]:
    """Return the columns of Table 5 as they are shown: candidates, the two averages, faces found and rank-1.

    Args:
        table: of `faceup.metrics.table5.table5`.
    """
    columns = [_values(table[c], candidate_subject(c), "candidate") for c in candidate_columns(table)]
    columns += [
        _values(table["average_paper"], PAPER, "average"),
        _values(table["average_detected"], DETECTED, "average"),
    ]
    return [*columns, _counts(table, "detected", FOUND), _counts(table, "rank1_hits", RANK1)]


def note(table: pd.DataFrame, probes: Mapping[str, int] | pd.Series[int], similarity: str) -> str:
    """Return what a reader must know to read the cells, in plain text.

    Args:
        table: of `table5`.
        probes: number of probes of every candidate.
        similarity: `clipped`, `cosine` or `half`.

    Raises:
        ConfigError: unknown similarity.
    """
    if similarity not in SIMILARITIES:
        raise unknown_name("similarity", similarity, SIMILARITIES)
    counts = sorted(int(count) for count in probes.values()) if isinstance(probes, Mapping) else sorted(probes)
    total = sum(counts)
    if not counts:
        per_candidate = "No candidate has both a gallery picture and a probe"
    elif counts[0] == counts[-1]:
        per_candidate = f"{counted(counts[0], 'probe')} per candidate, {total} in all"
    else:
        per_candidate = f"{counts[0]} to {counts[-1]} probes per candidate, {total} in all"
    return (
        f"{per_candidate}. Cells: mean over a candidate's detected probes of the best similarity ({similarity}: "
        f"{SIMILARITIES[similarity]}) to that candidate's gallery pictures; {DASH} where no face was found, in the "
        f"probes or in the gallery pictures. {PAPER}: mean over the candidates of the mean over all their probes, a "
        f"probe without a face as 0. {DETECTED}: mean over the candidates with a cell. {FOUND} and {RANK1} count the "
        "probes of all candidates; a probe without a face is a miss, and a tie with another person is no hit. Best per "
        "column in bold."
    )


def to_csv(table: pd.DataFrame, similarity: str) -> str:
    """Return the table as CSV, every number in a cell of its own and full names; no foot line, so it stays a table.

    `k/n` is split into its two columns because spreadsheets read `1/6` as a date.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    names = candidate_columns(table)
    candidates = layout(table)[: len(names)]
    writer.writerow(["sr", *map(csv_text, names), *FIXED, "similarity"])
    whole = {"detected", "probes", "rank1_hits"}
    for i, row in enumerate(table.to_dict("records")):
        fixed = [str(int(row[c])) if c in whole else number(float(row[c])) for c in FIXED]
        writer.writerow([csv_text(method_name(str(row["sr"]))), *(c.cells[i] for c in candidates), *fixed, similarity])
    return buffer.getvalue()


def to_markdown(table: pd.DataFrame, foot: str) -> str:
    """Return the table as GitHub-flavoured Markdown with `foot` and the caution below it."""
    columns = layout(table)
    lines = [
        f"**{TITLE}**",
        "",
        markdown_row([METHOD, *(markdown_text(shortened(c.heading)) for c in columns)]),
        markdown_row([":--", *("--:" for _ in columns)]),
    ]
    lines += _rows(table, columns, markdown_text, "**{}**".format, markdown_row)
    return "\n".join([*lines, "", markdown_text(f"{foot} {CAUTION}"), ""])


def to_latex(table: pd.DataFrame, foot: str) -> str:
    """Return the table as LaTeX that needs no package.

    With more than six candidates, which is what fits the width of a page, the columns follow each other in blocks, and
    the blocks fill as many `table` floats as they need.
    """
    columns = layout(table)
    count = sum(column.kind == "candidate" for column in columns)
    blocks = [columns]
    if count > BLOCK_CANDIDATES:
        blocks = [columns[i : i + BLOCK_CANDIDATES] for i in range(0, count, BLOCK_CANDIDATES)] + [columns[count:]]
    floats = [blocks[i : i + _FLOAT_BLOCKS] for i in range(0, len(blocks), _FLOAT_BLOCKS)]
    lines = ["% Made by faceup; no package needed. Names in other scripts than Latin need XeLaTeX or LuaLaTeX."]
    for i, part in enumerate(floats):
        caption = f"{TITLE}. {foot} {CAUTION}" if i == 0 else f"{TITLE}, continued ({i + 1} of {len(floats)})."
        lines += [
            r"\begin{table}",
            r"  \centering\footnotesize\setlength{\tabcolsep}{3pt}",
            rf"  \caption{{{_latex(caption)}}}",
        ]
        for block in part:
            lines += [
                rf"  \begin{{tabular}}{{l*{{{len(block)}}}{{r}}}}",
                r"    \hline",
                _latex_row([_latex(METHOD), *map(_latex_heading, block)]),
                r"    \hline",
                *_rows(table, block, _latex, r"\textbf{{{}}}".format, _latex_row),
                r"    \hline",
                r"  \end{tabular}" + (r"\\[1ex]" if block is not part[-1] else ""),
            ]
        lines.append(r"\end{table}")
    return "\n".join(lines) + "\n"


def write_tables(
    table: pd.DataFrame, similarity: pd.DataFrame, record: Mapping[str, Any], folder: Path, stem: str = "table"
) -> list[Path]:
    """Write table.csv, table.md and table.tex, each whole or not at all, and return their paths.

    Args:
        table: of `table5`.
        similarity: what `table` was made of.
        record: the content of run.json; its recipe names the similarity.
        folder: of the run.
        stem: of the files' names.

    Raises:
        DataError: a file cannot be written.
    """
    kind = str(record["recipe"]["similarity"])
    foot = note(table, probes_per_candidate(similarity), kind)
    texts = {
        f"{stem}.csv": to_csv(table, kind),
        f"{stem}.md": to_markdown(table, foot),
        f"{stem}.tex": to_latex(table, foot),
    }
    for name, text in texts.items():
        with whole_or_not_at_all(folder / name) as temporary:
            temporary.write_bytes(text.encode("utf-8", "backslashreplace"))
    return [folder / name for name in texts]


def terminal_table(
    table: pd.DataFrame, similarity: pd.DataFrame, record: Mapping[str, Any], *, width: int | None = None
) -> Table:
    """Return the table for the terminal: as many candidates as fit, at most six, then averages and rates.

    Args:
        table: of `table5`.
        similarity: what `table` was made of.
        record: the content of run.json; its recipe names the similarity.
        width: columns of the terminal; that of the standard output if absent.
    """
    width = width or Console().width
    endless = Console(width=10_000)  # A console never measures more than its own width.
    kind = str(record["recipe"]["similarity"])
    columns = layout(table)
    candidates = [c for c in columns if c.kind == "candidate"]
    counts = sorted(probes_per_candidate(similarity))
    each = "" if not counts else f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    for count in range(min(BLOCK_CANDIDATES, len(candidates)), -1, -1):
        rest = len(candidates) - count
        lines = [f"({counted(rest, 'more candidate')} in table.csv)"] if rest else []
        lines.append(
            f"Similarity: {kind} ({SIMILARITIES.get(kind, kind)}). Probes per candidate: {each or 0}. {CAUTION}"
        )
        made = _rich(table, candidates[:count] + columns[len(candidates) :], " ".join(lines))
        if count <= 1 or endless.measure(made).maximum <= width:
            break
    return made


def _rich(table: pd.DataFrame, columns: list[Column], foot: str) -> Table:
    # Text objects everywhere: a name such as "[red]" is a name and no markup.
    made = Table(title=Text(TITLE), caption=Text(foot), caption_justify="left", box=box.SIMPLE_HEAD)
    made.pad_edge, made.collapse_padding = False, True
    made.add_column(Text(METHOD), overflow="ellipsis", max_width=24, no_wrap=True)
    for column in columns:
        heading = shortened(column.heading, 12) if column.kind == "candidate" else _NARROW[column.heading]
        made.add_column(Text(heading), justify="right", no_wrap=True)
    for i, sr in enumerate(table["sr"]):
        cells = [Text(c.cells[i], style="bold" if c.best[i] else "") for c in columns]
        made.add_row(Text(shortened(method_name(str(sr)), 24)), *cells)
    return made


def _values(values: pd.Series[float], heading: str, kind: Literal["candidate", "average"]) -> Column:
    cells = tuple(number(float(value)) for value in values)
    # What a reader sees decides what is equal, so that two cells that look the same are both bold or both not.
    seen = [float(cell) for cell in cells if cell != DASH]
    return Column(heading, kind, cells, tuple(cell != DASH and float(cell) == max(seen) for cell in cells))


def _counts(table: pd.DataFrame, hits: str, heading: str) -> Column:
    pairs = [(int(k), int(n)) for k, n in zip(table[hits], table["probes"], strict=True)]
    best = max((k for k, _ in pairs), default=0)
    return Column(heading, "rate", tuple(f"{k}/{n}" for k, n in pairs), tuple(k == best and n > 0 for k, n in pairs))


def _rows(
    table: pd.DataFrame,
    columns: list[Column],
    escape: Callable[[str], str],
    bold: Callable[[str], str],
    row: Callable[[list[str]], str],
) -> list[str]:
    lines = []
    for i, sr in enumerate(table["sr"]):
        cells = [bold(c.cells[i]) if c.best[i] else c.cells[i] for c in columns]
        lines.append(row([escape(shortened(method_name(str(sr)))), *cells]))
    return lines


_MARKDOWN = {**{c: f"\\{c}" for c in "\\`*_[]|~$"}, "&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    # Straight after the end of a row, [ and * would be read as arguments of it; the others print wrongly in old fonts.
    **{c: f"{{{c}}}" for c in "[]*"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "…": r"\ldots{}",
}


def markdown_text(text: str) -> str:
    """Return text that means nothing to Markdown or HTML."""
    return "".join(_MARKDOWN.get(c, c) for c in text)


def markdown_row(cells: list[str]) -> str:
    """Return one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text)


def _latex_heading(column: Column) -> str:
    if column.kind == "candidate":
        return _latex(shortened(column.heading))
    return rf"\shortstack{{{_latex(_NARROW[column.heading])}}}".replace("\n", r"\\")


def _latex_row(cells: list[str]) -> str:
    return f"    {' & '.join(cells)} \\\\"
