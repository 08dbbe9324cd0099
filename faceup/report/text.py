"""Names from files and manifests as text that is safe to show: nothing hidden, nothing endless."""

from __future__ import annotations

import math
import unicodedata

DASH = "-"
# Marks that change the direction of the text after them; an id could use them to pass for another.
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    r"""Return `text` with control characters, direction marks and lone surrogates spelled out as \xNN or \uNNNN."""
    if text.isprintable():  # Formatting marks are never printable, so this is only the fast way.
        return text
    return "".join(
        _spelled(c) if c in _BIDI or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text
    )


def shortened(text: str, limit: int = 48) -> str:
    """Return printable text of at most `limit` characters, with an ellipsis in the place of the middle.

    >>> shortened("abcdefghij", 7)
    'abc…hij'
    """
    text = printable(text)
    if len(text) <= limit:
        return text
    tail = (limit - 1) // 2
    return f"{text[: limit - 1 - tail]}…{text[-tail:]}"


def method_name(sr: str) -> str:
    """Return how tables call an SR system: `none` is the paper's `LR image`, others go by their labels."""
    return "LR image" if sr == "none" else sr


def number(value: float, decimals: int = 6) -> str:
    """Return a number with fixed decimals, `-` for NaN, never a negative zero."""
    return DASH if math.isnan(value) else f"{round(value, decimals) + 0.0:.{decimals}f}"


def share(count: int, total: int) -> str:
    """Return `3/102 (2.9 %)`, with a no-break space; without a denominator only `0/0`."""
    return f"{count}/{total} ({100 * count / total:.1f}\u00a0%)" if total else f"{count}/{total}"


def counted(count: int, noun: str) -> str:
    """Return `1 picture` or `2 pictures`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _spelled(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
