"""Field case F17 on a server that asks for passwords."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from embedspec.errors import StoreError
from embedspec.stores.protocol import OpenContext
from embedspec_pgvector import adapter, watcher
from embedspec_pgvector.embedded import binaries

PASSWORD = "p@s#s%w/ö"

pytestmark = pytest.mark.usefixtures("needs_binaries")


@pytest.fixture(scope="module")
def socket_folder() -> Iterator[Path]:
    """A server with scram authentication and the role `me`."""
    folder = Path(tempfile.mkdtemp(prefix="embedspec-test-", dir="/tmp"))
    prefix, uid, _ = watcher.run_as(binaries(), folder)
    if uid is not None:
        os.chown(folder, uid, -1)
    data, secret = folder / "data", folder / "secret"
    secret.write_text("admin")
    secret.chmod(0o644)
    subprocess.run(
        [*prefix, str(binaries() / "initdb"), "-D", str(data), "-U", "postgres", "--encoding=UTF8",
         "--locale=C", "--auth=scram-sha-256", f"--pwfile={secret}"],
        check=True,
        capture_output=True,
    )  # fmt: skip
    server = watcher.start(folder, data, binaries(), prefix, folder)
    with psycopg.connect(
        host=str(folder), user="postgres", password="admin", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute("CREATE ROLE me LOGIN SUPERUSER")
        connection.execute(psycopg.sql.SQL("ALTER ROLE me PASSWORD {}").format(psycopg.sql.Literal(PASSWORD)))
    yield folder
    watcher.stop(server)
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        (quote(PASSWORD, safe=""), None),
        (PASSWORD, "percent-encode"),
        (quote(PASSWORD + "x", safe=""), "password authentication failed"),
    ],
    ids=["encoded", "raw", "wrong"],
)
def test_f17_passwords_with_reserved_characters(
    socket_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, fault: str | None
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{written}@/postgres?host={socket_folder}")
    target = adapter.target_model.model_validate({"store": "pgvector", "url": "env:DATABASE_URL"})
    context = OpenContext(tmp_path, tmp_path)
    if fault is None:
        with adapter.open(target, context) as store:
            assert store.observe("handbook") is None
        return
    with pytest.raises(StoreError) as refused:
        adapter.open(target, context)
    told = str(refused.value)
    assert fault in told
    assert "percent-encode" in told
    assert not refused.value.transient
    for secret in (PASSWORD, PASSWORD + "x", quote(PASSWORD, safe=""), quote(PASSWORD), "s#s", "s%23s"):
        assert secret not in told
    if fault != "percent-encode":
        assert "user me" in told
        assert str(socket_folder) in told
