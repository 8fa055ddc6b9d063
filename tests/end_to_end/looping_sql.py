"""A plain-SQL reader: a process that sends one statement over and over, knowing nothing of embedspec.

    python looping_sql.py DSN STATEMENT OUT

The rows of every answer, and every error, are a JSON line in OUT. SIGTERM ends it.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

import psycopg

PAUSE_S = 0.01
_over = False


def stop(*_: object) -> None:
    global _over
    _over = True


def loop(dsn: str, statement: str, out: Path) -> None:
    with out.open("a", buffering=1) as lines, psycopg.connect(dsn, autocommit=True) as connection:
        while not _over:
            try:
                # Prepared on the server after some repetitions, as drivers do.
                rows = connection.execute(statement.encode()).fetchall()
                lines.write(json.dumps({"rows": rows}) + "\n")
            except psycopg.Error as error:
                lines.write(json.dumps({"error": repr(error)}) + "\n")
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    loop(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
