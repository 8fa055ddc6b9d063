"""How fast a model ran on this machine the last time: what a plan's price in seconds rests on."""

from __future__ import annotations

import platform
import time

from embedspec.reconciler.home import Home
from embedspec.reconciler.session import ModelInUse

SPEED_FILE = "speed.json"
TELLING_TOKENS = 20_000
"""A run of so many tokens replaces any earlier measurement; a shorter one only a still shorter one."""


def _key(model: ModelInUse) -> str:
    return f"{model.fingerprint}@{platform.node()}"


def estimate_seconds(home: Home, model: ModelInUse, tokens: int) -> tuple[float | None, str]:
    """Seconds to embed so many tokens, and how that was worked out; None where nothing is known."""
    if tokens == 0:
        return 0.0, "nothing to embed"
    entry = home.read_json(SPEED_FILE).get(_key(model))
    entry = entry if isinstance(entry, dict) else {}
    speed = entry.get("tokens_per_s")
    if not isinstance(speed, int | float) or speed <= 0:
        return None, "this model has not run here yet; `plan --probe` measures it"
    return tokens / speed, f"{speed:,.0f} tokens/s, measured here on {entry.get('date')}"


def remember_speed(home: Home, model: ModelInUse, tokens: int, seconds: float) -> None:
    """Keep the speed of this encoder on this machine for the next plan's price."""
    if seconds <= 0 or tokens <= 0:
        return
    speeds = home.read_json(SPEED_FILE)
    known = speeds.get(_key(model))
    measured = known.get("tokens") if isinstance(known, dict) else None
    if isinstance(measured, int) and tokens < min(measured, TELLING_TOKENS):
        return  # a handful of texts says little of a corpus: what starting costs weighs too much
    speeds[_key(model)] = {
        "tokens": tokens,
        "tokens_per_s": round(tokens / seconds, 1),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    home.write_json(SPEED_FILE, speeds)
