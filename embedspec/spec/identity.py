"""Canonical JSON and the fingerprints that are hashes of it.

Two objects that mean the same have one canonical form: keys are sorted, 1.0 is written 1, tuples
are lists. NaN, infinity and bytes are refused: they have no JSON form.
"""

from __future__ import annotations

import enum
import json
import math
from collections.abc import Mapping
from typing import Any

from embedspec.spec.model import Spec
from embedspec.types import digest

_EXACT_INTEGERS = 2.0**53
"""Below this a float that is whole stands for exactly one integer."""


def canonical_json(value: Any) -> str:
    """The one JSON text of a value. Raises ValueError or TypeError for what JSON cannot hold."""
    return json.dumps(
        _plain(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True
    )


def fingerprint(value: Any) -> str:
    """Hex of the 16-byte BLAKE2b of the canonical JSON."""
    return digest(canonical_json(value).encode()).hex()


def spec_fingerprint(spec: Spec, target: Mapping[str, Any] | None = None) -> str:
    """What a saved plan is bound to: the whole spec except its description.

    `target`: the target as the adapter's own model dumps it, so that a default written out there
    changes nothing; without it the raw mapping of the spec counts.
    """
    content = spec.model_dump(mode="json", exclude={"description"})
    if target is not None:
        content["target"] = target
    return fingerprint(content)


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, float):
        whole = math.isfinite(value) and value.is_integer() and abs(value) < _EXACT_INTEGERS
        return int(value) if whole else value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"key {key!r} is not text")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
