"""How every report makes its pages from templates: everything is escaped, and a name that is missing is an error."""

from __future__ import annotations

import jinja2

from faceup.report.text import counted, printable, shortened


def environment(package: str) -> jinja2.Environment:
    """Return the environment for the templates that lie in the folder `package` of faceup."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("faceup", package),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(printable=printable, shortened=shortened, counted=counted)
    return made
