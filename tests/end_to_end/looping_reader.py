"""A reader as an application is one: a process that asks the live build over and over.

    python looping_reader.py SPEC QUERIES OUT SEARCHES SLOW_S

QUERIES is a JSON list of texts. Every answer, and every error, is a JSON line in OUT. After SEARCHES
answers the index is opened anew (0: never), as short-lived readers do. The model takes SLOW_S longer
for a query than it would: so long the pointer is old before it is used. SIGTERM ends it.
"""

from __future__ import annotations

import itertools
import json
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import embedspec
from embedspec.errors import SpecError
from embedspec.models.openvino_engine import OpenVinoEncoder
from embedspec.types import Matrix

K = 10
PAUSE_S = 0.01
"""Between answers: a test machine has two cores, and there are others at work."""
_over = False


def stop(*_: object) -> None:
    global _over
    _over = True


def slow_down(slow_s: float) -> None:
    encode = OpenVinoEncoder.encode

    def slow(self: OpenVinoEncoder, texts: Sequence[str], prompt: str = "") -> Matrix:
        time.sleep(slow_s)
        return encode(self, texts, prompt)

    OpenVinoEncoder.encode = slow  # type: ignore[method-assign]


def loop(spec: str, queries: list[str], out: Path, searches: int) -> None:
    numbers = itertools.cycle(range(len(queries)))
    with out.open("a", buffering=1) as lines:

        def tell(**what: Any) -> None:
            lines.write(json.dumps({"at": time.time(), **what}) + "\n")

        while not _over:
            try:
                with embedspec.open(spec) as index:
                    for done in itertools.count(1):
                        number = next(numbers)
                        answer = index.search(queries[number], K)
                        hits = [[hit.id, hit.score, hit.text] for hit in answer.hits]
                        tell(query=number, build=answer.build, hits=hits)
                        time.sleep(PAUSE_S)
                        if _over or done == searches:
                            break
            except SpecError as error:
                if "nothing is live" not in error.what:
                    tell(error=traceback.format_exc())
                tell(nothing=True)
                time.sleep(0.05)
            except Exception:
                tell(error=traceback.format_exc())


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    slow_down(float(sys.argv[5]))
    loop(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3]), int(sys.argv[4]))
