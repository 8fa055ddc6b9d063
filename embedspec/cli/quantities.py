"""Numbers for people: counts, durations, sizes; and durations as people type them."""

from __future__ import annotations

import math
import re

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration_s(text: str) -> float:
    """Seconds in `90`, `90s`, `5m` or `2h`. Raises ValueError."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write seconds, or 90s, 5m, 2h")
    seconds = float(match[1]) * _SECONDS[match[2]]
    # threading waits take at most about 292 years; nobody means more than one.
    if not math.isfinite(seconds) or seconds > 366 * 86400:
        raise ValueError(f"{text!r} is longer than a year")
    return seconds


def count(number: int) -> str:
    """1234567 → 1,234,567"""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """1 → `1 chunk`, 2 → `2 chunks`"""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """0.042 → 42 ms, 8.25 → 8.2 s, 75 → 1 min 15 s, 7300 → 2 h 2 min"""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def size(bytes_: int) -> str:
    """1536 → 1.5 kB, in powers of 1000."""
    value = float(bytes_)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            return f"{value:.0f} {unit}" if value >= 99.95 or unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def percent(share: float) -> str:
    """0.0731 → 7.3 %"""
    return f"{share * 100:.1f} %"
