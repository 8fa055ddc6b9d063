"""The command line, with every batch of texts that goes to the model written to a file first.

    python counting.py LOG PAUSE_S ARGUMENTS…

One line a batch: the content hashes of its texts. Canaries and queries are not counted. What a run
that was killed has embedded can be told in no other way.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from embedspec.cli import main
from embedspec.models.openvino_engine import OpenVinoEncoder


def count_texts(log: Path, pause_s: float) -> None:
    embed = OpenVinoEncoder.embed

    def counted(self: OpenVinoEncoder, batches: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        def told() -> Iterator[tuple[Any, Any]]:
            for tag, rows in batches:
                contents = getattr(tag, "contents", None)
                if contents is not None:
                    with log.open("a") as file:
                        file.write(" ".join(content.hex() for content in contents) + "\n")
                    time.sleep(pause_s)
                yield tag, rows

        return embed(self, told())

    OpenVinoEncoder.embed = counted  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    count_texts(Path(sys.argv[1]), float(sys.argv[2]))
    sys.argv[1:] = sys.argv[3:]
    sys.exit(main())
