"""A vectorised first look at JSON lines: what the fast parser would get wrong, found without parsing.

orjson keeps the last of two equal keys and turns integers beyond 64 bits into floats, both in
silence. `expected_keys` gives, for each line, the number of keys that a parse without doubled keys
must show; a line for which that cannot be told gets -1 and is parsed exactly.
"""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

_QUOTE, _COLON, _SPACE, _TAB, _RETURN, _ZERO = b'": \t\r0'
_KINDS = np.zeros(256, dtype=np.uint8)
_KINDS[_QUOTE] = 1
_KINDS[[_SPACE, _TAB, _RETURN]] = 2
_LONG_INTEGER = 19
"""Digits from which an integer may not fit 64 bits (2^63 has 19)."""
_STRIDE = 9
"""Every run of 19 digits covers two neighbours of a grid this wide."""
_ANY_LONG_INTEGER = re.compile(rb"[0-9]{%d}" % _LONG_INTEGER)


def expected_keys(data: bytes, ends: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """(lines,) number of colons that may follow a key, -1 where a line holds a very long number.

    `ends` holds the offset of the newline of each line (the last line may end with the data). Each
    true key is followed by a colon whose left neighbour is a quote or white space, so the true
    number of keys is never above the count. If a parse shows as many keys as were counted, no key
    was doubled; if it shows fewer (a text with `":` in it, say), only an exact parse can tell.
    """
    array = np.frombuffer(data, dtype=np.uint8)
    colons = np.flatnonzero(array == _COLON)
    kind = _KINDS[array[colons - 1]]
    after_key = kind == 1
    blank = np.flatnonzero(kind == 2)
    if len(blank):
        after_key[blank] = _quote_before(array, colons[blank])
    counts = np.diff(np.searchsorted(colons[after_key], ends), prepend=0)
    counts[np.searchsorted(ends, _long_integers(data, array))] = -1
    return counts


def _quote_before(array: npt.NDArray[np.uint8], colons: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Whether the nearest byte before each colon that is no white space is a quote. Beyond a few
    blanks the answer is yes, which only costs an exact parse."""
    at = colons - 1
    for _ in range(4):
        blank = _KINDS[array[at]] == 2
        if not blank.any():
            break
        at = np.maximum(at - blank, 0)
    quote_or_blank: npt.NDArray[np.bool_] = _KINDS[array[at]] != 0
    return quote_or_blank


def _long_integers(data: bytes, array: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Offsets of digits inside runs of 19 digits or more, at least one for each run."""
    sample = (array[::_STRIDE] - np.uint8(_ZERO)) < 10
    candidates = np.flatnonzero(sample[:-1] & sample[1:]) * _STRIDE
    for step in range(1, _STRIDE):
        if not len(candidates):
            return candidates
        candidates = candidates[(array[candidates + step] - np.uint8(_ZERO)) < 10]
    reach = _LONG_INTEGER - 1
    found = [
        at for at in candidates.tolist() if _ANY_LONG_INTEGER.search(data, max(0, at - reach), at + reach + 1)
    ]
    return np.array(found, dtype=np.intp)
