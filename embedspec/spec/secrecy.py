"""What in a spec looks like a secret: refused in `target`, masked in every message."""

from __future__ import annotations

import re
from typing import Any

ENV_FORM = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*")

_SECRET_KEY = re.compile(
    r"(^|[._-])(password|passwd|passphrase|secret|token|api_?key|access_?key|credentials?)(\[\d+\])?$", re.I
)
# Greedy up to the last @: a raw password may itself hold @, / and #.
# A scheme of bounded length: without the bound a long word costs its length squared.
_URL_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s:/?#@]*:)(\S*)(@)")
_URL_WITH_PASSWORD = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s:/?#@]*:(?!\d+[/?])\S+@")
_PARAMETER = re.compile(
    r"((?:password|passwd|passphrase|secret|token|api_?key)\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s&,;'\"}]+)",
    re.I,
)


def secret_in(path: str, value: Any) -> str | None:
    """Why the value at this dotted path is a secret written out, as the end of a sentence."""
    if not isinstance(value, str) or not value or ENV_FORM.fullmatch(value):
        return None
    if _SECRET_KEY.search(path):
        return "is a secret written out"
    if _URL_WITH_PASSWORD.search(value) or _PARAMETER.search(value):
        return "holds a password"
    return None


def masked(text: str) -> str:
    """The text with passwords in URLs and in `password=…` replaced by ***."""
    text = _URL_PASSWORD.sub(r"\1***\3", text)
    return _PARAMETER.sub(r"\1***", text)


def shown(path: str, value: Any, limit: int = 60) -> str:
    """A value as messages show it: short, on one line, nothing secret in it.

    Containers are named, not shown: what stands in them has a line of its own.
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "keys with values"
    if isinstance(value, (list, tuple, set, frozenset)):
        return "a list"
    if not isinstance(value, (str, int, float)):
        return f"a {type(value).__name__}"
    if _SECRET_KEY.search(path):
        return "***"
    text = masked(value) if isinstance(value, str) else value
    try:
        written = repr(text)
    except ValueError:  # an integer of more than 4300 digits
        return "a very long number"
    return written if len(written) <= limit else f"{written[: limit - 1]}…"
