"""What people read of a run: Table 5 as CSV, Markdown, LaTeX and terminal table, and the HTML report."""
