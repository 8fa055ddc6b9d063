"""The process that owns an embedded server: makes the data folder, starts it, stops it after the last client.

Run as a script with nothing but the standard library (`python -I -S watcher.py FOLDER BIN`), so that
it starts in milliseconds. It returns when the server answers, and leaves a detached process behind.

Two lock files in FOLDER say who lives; the kernel drops the locks of a process however it dies:

    clients.lock   shared by every client for as long as it uses the server
    watch.lock     exclusive, held by the one watcher from before initdb to after the server's end

The watcher waits for `clients.lock` to become free for an exclusive lock, which it can only be when
no client is left, and stops the server while holding it, so that no client comes in between. It
gives up `watch.lock` first: a client that waited finds it free and starts a watcher of its own.
A server dies with its watcher (parent-death signal), a watcher leaves when its server dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

START_TIMEOUT_S = 600.0
"""Crash recovery replays at most `max_wal_size` of log; 0.6 GB took 5 s on a busy machine."""
STOP_TIMEOUT_S = 60.0
LOG_BYTES = 8 << 20
SOCKET_PATH_BYTES = 107
"""sun_path of Linux, without the closing NUL."""
SOCKET_FOLDER = "embedspec-socket-"
PORT = 5432


class Failed(Exception):
    """The server cannot be made or started; the text is for people."""


def memory_bytes() -> int:
    """Memory of this machine, or what this container may use of it."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return machine
    return min(machine, int(limit)) if limit.isdigit() else machine


def settings(socket_folder: Path) -> list[str]:
    """Server settings as command-line options. Nothing here gives up an acknowledged commit:
    fsync, full_page_writes and synchronous_commit stay on. `wal_level=minimal` only drops what
    replication and archiving need, and spares the index build its log."""
    buffers_mb = min(256, memory_bytes() // 8 >> 20)
    values = {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": str(socket_folder),
        "unix_socket_permissions": "0700",
        "max_connections": "64",
        "shared_buffers": f"{buffers_mb}MB",
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "max_parallel_maintenance_workers": str(max(2, min(8, os.cpu_count() or 2))),
        "client_connection_check_interval": "1s",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
    }
    return [part for name, value in values.items() for part in ("-c", f"{name}={value}")]


# --- as whom ----------------------------------------------------------------------------------------


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _named_uid() -> int:
    """An unprivileged uid with a name: initdb looks the name up."""
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError:
        return next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid), 65534)


def _has_name() -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwuid(os.geteuid()))
    return False


def run_as(bin_folder: Path, folder: Path) -> tuple[list[str], int | None, bool]:
    """How to run PostgreSQL here: (command prefix, uid that must own its files or None for ours,
    whether `folder` can be used by it).

    PostgreSQL refuses to run as root, and initdb without a user name. A user namespace changes
    neither owners nor modes; where namespaces are off (most containers), root drops to `nobody`,
    keeping the right to pass through closed folders, or, where even that is refused, without it.
    """
    if os.geteuid() != 0 and _has_name():
        return [], None, True
    uid = _named_uid()
    version = [str(bin_folder / "postgres"), "-V"]
    mapped = ["unshare", "--user", f"--map-user={uid}", f"--map-group={uid}"]
    if _succeeds([*mapped, *version]):
        return mapped, None, True
    if os.geteuid() != 0:
        raise Failed(f"uid {os.geteuid()} has no entry in the user database, which PostgreSQL needs")
    dropped = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    passing = [*dropped, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"]
    # Listing is an attempt; `test -w` asks for a user without capabilities.
    if _succeeds([*passing, *version]) and _succeeds([*passing, "ls", str(folder)]):
        return passing, uid, True
    if _succeeds([*dropped, *version]):
        return dropped, uid, False
    raise Failed("PostgreSQL does not run as root, and neither unshare nor setpriv can change that here")


def _own(folder: Path, uid: int | None) -> None:
    """Give `folder` and all in it to `uid` (None: to us) unless it has it already."""
    owner = os.geteuid() if uid is None else uid
    if folder.stat().st_uid == owner:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(os.path.join(parent, name), owner, -1, follow_symlinks=False)  # noqa: PTH118
    os.chown(folder, owner, -1)


# --- data folder -----------------------------------------------------------------------------------


def write_whole(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


def data_folder(folder: Path) -> Path:
    """Where the data is: `folder`/data, unless the server's user could not get there."""
    try:
        elsewhere = Path((folder / "location").read_text().strip())
    except (FileNotFoundError, NotADirectoryError):
        return folder / "data"
    return elsewhere if elsewhere.parent.is_dir() else folder / "data"


def make_data(data: Path, bin_folder: Path, prefix: list[str], uid: int | None) -> None:
    """initdb into a folder of another name, then rename: a half-made one is never taken for whole."""
    for leftover in data.parent.glob("data.new-*"):
        shutil.rmtree(leftover)
    new = data.parent / f"data.new-{os.getpid()}"
    new.mkdir(mode=0o700)
    _own(new, uid)
    command = [*prefix, str(bin_folder / "initdb"), "-D", str(new), "-U", "postgres", "--auth=trust"]
    command += ["--encoding=UTF8", "--locale=C", "--data-checksums", "--no-instructions"]
    if _major(bin_folder) >= 17:
        # One call in place of a thousand, each of which waits for the disk.
        command += ["--sync-method=syncfs"]
    made = subprocess.run(
        command, env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        shutil.rmtree(new, ignore_errors=True)
        raise Failed(f"initdb failed: {_complaint(made.stderr)}")
    new.rename(data)
    parent = os.open(data.parent, os.O_RDONLY)
    os.fsync(parent)
    os.close(parent)


def _major(bin_folder: Path) -> int:
    says = subprocess.run([str(bin_folder / "postgres"), "-V"], capture_output=True, text=True, check=True)
    return int(says.stdout.partition(")")[2].split(".")[0])  # postgres (PostgreSQL) 18.4


def check_version(data: Path, bin_folder: Path) -> None:
    wanted = (data / "PG_VERSION").read_text().strip()
    found = _major(bin_folder)
    if str(found) != wanted:
        raise Failed(
            f"{data} was made by PostgreSQL {wanted}, but {bin_folder} holds PostgreSQL {found}; "
            f"set EMBEDSPEC_PG_BIN to the bin folder of a PostgreSQL {wanted} with pgvector, "
            "or remove the folder and reconcile again"
        )


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**kept, "LC_ALL": "C"}


def _complaint(text: str) -> str:
    """The end of a log, without the times and process numbers that begin its lines."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(line.rpartition("] ")[2] for line in lines[-3:]) or "no message"


# --- server ----------------------------------------------------------------------------------------


def _postmaster_pid(data: Path) -> list[str]:
    """Lines of postmaster.pid: pid, data folder, start, port, socket, address, memory, status."""
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def end_leftover(data: Path) -> None:
    """Stop a server that outlived its watcher; remove the pid file of one that is gone.

    A pid file names a number that may by now be another process's (a restarted container counts
    its processes from 1 again), on which PostgreSQL would refuse to start for ever. A postmaster
    of ours is known by its working directory.
    """
    lines = _postmaster_pid(data)
    if not lines:
        return
    pid = int(lines[0])
    for request in (signal.SIGINT, signal.SIGQUIT):
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while _runs_in(pid, data):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, request)
            time.sleep(0.1)
            if time.monotonic() > deadline:
                break
    (data / "postmaster.pid").unlink(missing_ok=True)


def _runs_in(pid: int, data: Path) -> bool:
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except OSError:
        return False


def socket_folder(folder: Path, uid: int | None, usable: bool) -> Path:
    """`folder`, or a folder of a short name where its socket path would be too long or closed, or
    holds a comma, which PostgreSQL takes for the end of a name in a list."""
    name = f"{folder}/.s.PGSQL.{PORT}"
    if usable and "," not in name and len(os.fsencode(name)) <= SOCKET_PATH_BYTES and uid is None:
        return folder
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    roomy = runtime is not None and len(runtime) < 60 and os.access(runtime, os.W_OK) and uid is None
    made = Path(tempfile.mkdtemp(prefix=SOCKET_FOLDER, dir=runtime if roomy else "/tmp"))
    _own(made, uid)
    return made


def forget_sockets(folder: Path) -> None:
    """Remove the note of where the socket is, and the folder made for it if there is one."""
    note = folder / "socket"
    if note.exists():
        named = Path(note.read_text())
        if named != folder and named.name.startswith(SOCKET_FOLDER):
            shutil.rmtree(named, ignore_errors=True)
        note.unlink()


def start(
    folder: Path, data: Path, bin_folder: Path, prefix: list[str], sockets: Path
) -> subprocess.Popen[bytes]:
    """The server, once it answers. A server killed a moment ago may have left backends that still
    hold its memory; starting is tried again until they have noticed."""
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        # As with the pid file: a leftover may name a number that is another process's by now.
        (sockets / name).unlink(missing_ok=True)
    log = folder / "server.log"
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(folder / "server.log.1")
    command = [*prefix]
    if _succeeds(["setpriv", "--pdeathsig", "INT", "true"]):
        # Last in the chain: changing credentials clears it.
        command += ["setpriv", "--pdeathsig", "INT"]
    command += [str(bin_folder / "postgres"), "-D", str(data), *settings(sockets)]
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        with log.open("ab") as out:
            offset = out.tell()
            server = subprocess.Popen(
                command, env=_environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd="/"
            )
        while server.poll() is None and time.monotonic() < deadline:
            lines = _postmaster_pid(data)
            if len(lines) > 7 and lines[0] == str(server.pid) and lines[7].strip() == "ready":
                return server
            time.sleep(0.01)
        if server.poll() is None:
            stop(server)
            raise Failed(f"the server did not answer within {START_TIMEOUT_S:.0f} s; see {log}")
        with log.open("rb") as said:
            said.seek(offset)
            text = said.read().decode(errors="replace")
        if "pre-existing shared memory block" not in text or time.monotonic() > deadline:
            raise Failed(f"the server did not start: {_complaint(text)} (see {log})")
        time.sleep(0.2)


def _place(path: Path) -> tuple[int, int] | None:
    """Which folder is at this path now: one made anew under the same name is another."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def stop(server: subprocess.Popen[bytes]) -> None:
    """End clients' transactions, write everything out, leave. Harder if that takes too long."""
    for request in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if server.poll() is not None:
            return
        server.send_signal(request)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_TIMEOUT_S)


# --- the watch ---------------------------------------------------------------------------------------


def watch(folder: Path, bin_folder: Path, report: int, watch_lock: int) -> None:
    """Own the server from its birth to its end; `report` is a pipe that gets `ok` or what is wrong."""
    wake_read, wake_write = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(wake_write, b"s"))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        prefix, uid, usable = run_as(bin_folder, folder)
        data = data_folder(folder)
        if not usable and data.parent == folder:
            home = Path(tempfile.mkdtemp(prefix="embedspec-pg-", dir="/var/tmp"))
            _own(home, uid)
            data = home / "data"
            write_whole(folder / "location", str(data))
        if not (data / "PG_VERSION").exists():
            make_data(data, bin_folder, prefix, uid)
        _own(data, uid)
        check_version(data, bin_folder)
        end_leftover(data)
        sockets = socket_folder(folder, uid, usable)
        server = start(folder, data, bin_folder, prefix, sockets)
        write_whole(folder / "socket", str(sockets))
        data_born, folder_born = _place(data), _place(folder)
    except Exception as error:  # Whatever it is, the waiting client is told.
        os.write(report, (str(error) or repr(error)).encode(errors="replace"))
        return
    os.write(report, b"ok")
    os.close(report)

    clients = os.open(folder / "clients.lock", os.O_RDWR | os.O_CREAT, 0o600)

    def wait_for_clients() -> None:
        fcntl.flock(clients, fcntl.LOCK_EX)
        os.write(wake_write, b"c")

    threading.Thread(target=wait_for_clients, daemon=True).start()
    while server.poll() is None and (_place(data), _place(folder)) == (data_born, folder_born):
        if select.select([wake_read], [], [], 0.5)[0]:
            break
    if _place(data) == data_born:
        stop(server)
    else:
        # Somebody removed the data, and may have made a new server of the same name by now. In an
        # orderly end PostgreSQL writes its control file and removes its socket by path: the new ones.
        server.kill()
        server.wait()
    if _place(folder) == folder_born:
        forget_sockets(folder)
    elif sockets != folder:
        shutil.rmtree(sockets, ignore_errors=True)
    os.close(watch_lock)
    # clients.lock goes with the process: after watch.lock, see above.


def main(folder: Path, bin_folder: Path) -> int:
    watch_lock = os.open(folder / "watch.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(watch_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return 0  # Somebody else's watcher is at work.
    forget_sockets(folder)
    report_read, report_write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        os.close(report_read)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nothing, stream)
        os.chdir("/")
        try:
            watch(folder, bin_folder, report_write, watch_lock)
        finally:
            os._exit(0)
    os.close(report_write)
    os.close(watch_lock)
    with os.fdopen(report_read, "rb") as reports:
        said = reports.read().decode()
    if said == "ok":
        return 0
    sys.stderr.write(said or "the watcher died")
    return 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
