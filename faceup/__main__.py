"""`python -m faceup`."""

from faceup.cli.main import entry_point

entry_point()
