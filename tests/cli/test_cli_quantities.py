"""Numbers for people, and durations as people type them."""

from __future__ import annotations

import pytest

from embedspec.cli.quantities import count, duration, parse_duration_s, percent, plural, size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("90s", 90), ("1.5m", 90), ("5m", 300), ("2h", 7200), (" 3 ", 3)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "5x", "-1", "1e3", "nan", "inf", "5 m", "m", "1.m", "½h", "9" * 20])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"duration|longer than a year"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0 ms"),
        (0.0421, "42 ms"),
        (0.9999, "1.0 s"),
        (8.25, "8.2 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (75, "1 min 15 s"),
        (3599.6, "1 h 0 min"),
        (7300, "2 h 2 min"),
    ],
)
def test_durations_are_written(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("bytes_", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1536, "1.5 kB"),
        (999_960, "1.0 MB"),
        (123_456_789, "123 MB"),
        (5 * 10**15, "5000 TB"),
    ],
)
def test_sizes(bytes_: int, text: str) -> None:
    assert size(bytes_) == text


def test_counts() -> None:
    assert (count(1234567), plural(1, "row"), plural(2000, "row"), percent(0.0731)) == (
        "1,234,567",
        "1 row",
        "2,000 rows",
        "7.3 %",
    )
