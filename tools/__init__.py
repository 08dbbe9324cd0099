"""Commands that make the project's files and figures; no part of the package."""
