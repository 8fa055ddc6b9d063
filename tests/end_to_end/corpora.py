"""Corpora of any size whose texts differ early, within the tiny model's window of 64 letters."""

from __future__ import annotations

import random

WORDS = ("apple", "bread", "clock", "donkey", "engine", "forest", "garden", "harbor", "island", "jacket")
LANGUAGES = ("de", "en", "es", "fr")


def record(number: int, version: int = 0) -> dict[str, str]:
    """Document `number`; another version has another text."""
    choose = random.Random(f"{number}.{version}")
    return {
        "id": f"d{number:06}",
        "text": f"{number} {version} {' '.join(choose.choices(WORDS, k=5))}",
        "lang": LANGUAGES[number % 4],
    }


def records(count: int) -> list[dict[str, str]]:
    return [record(number) for number in range(count)]


def edited(before: list[dict[str, str]], version: int) -> list[dict[str, str]]:
    """A tenth changed, a twentieth each with other metadata, gone, and new; other ones in each
    version."""
    after = []
    for old in before:
        number = int(old["id"][1:])
        match (number + version) % 20:
            case 0 | 10:
                after.append({**record(number, version), "lang": old["lang"]})
            case 5:
                after.append({**old, "lang": f"{old['lang']}{version}"})
            case 15:
                pass
            case _:
                after.append(old)
    first = 1 + max(int(old["id"][1:]) for old in before)
    return [*after, *(record(first + more) for more in range(len(before) // 20))]
