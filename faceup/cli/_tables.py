"""Tables of an evaluation on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from faceup.report.evaluation import Shown


def show(table: Shown) -> None:
    """Print a table; a name such as `[red]` is a name and no markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(table.title), caption=Text(table.note), caption_justify="left")
    for heading in table.headings:
        made.add_column(Text(heading), overflow="fold")
    for row in table.rows:
        made.add_row(*map(Text, row))
    Console().print(made)
