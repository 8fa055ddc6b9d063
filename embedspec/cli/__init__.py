"""The command line: parses, calls the SDK, catches, prints. Nothing else in embedspec prints."""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script: run the verb in `sys.argv` and exit with its code."""
    import sys

    from embedspec.cli.app import run

    sys.exit(run(sys.argv[1:]))
