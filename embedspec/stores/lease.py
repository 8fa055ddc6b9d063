"""Who holds a lease, and whether that process is provably dead."""

from __future__ import annotations

import getpass
import os
import socket
import uuid
from datetime import UTC, datetime
from pathlib import Path

from embedspec.stores.records import LeaseInfo


def _boot_id() -> str:
    """Identity of this boot of this machine; empty where the system does not tell (not Linux)."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _pid_namespace() -> str:
    """Two containers of one host share the boot id but not their pids."""
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _start_ticks(pid: int) -> float | None:
    """Start time of a process in clock ticks since boot; None if there is no such process, or if
    it is a zombie (dead, only not yet waited for)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else float(fields[19])


def actor() -> str:
    """user@host, for messages."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def this_process() -> LeaseInfo:
    """This process as a would-be holder; the store fills in times and generation."""
    return LeaseInfo(
        owner=f"{actor()}:{uuid.uuid4().hex[:12]}",
        host=socket.gethostname(),
        boot=_boot_id() + _pid_namespace(),
        pid=os.getpid(),
        started=_start_ticks(os.getpid()) or 0.0,
        generation=0,
        acquired=datetime.now(UTC),
        expires_in_s=0.0,
    )


def provably_dead(holder: LeaseInfo) -> bool:
    """True only if the holder ran on this boot of this machine, in this pid namespace, and its
    process is gone. Anything that cannot be known counts as alive."""
    here = _boot_id() + _pid_namespace()
    if not here or holder.boot != here or holder.host != socket.gethostname():
        return False
    return _start_ticks(holder.pid) != holder.started
