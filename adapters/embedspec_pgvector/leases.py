"""The lease on an index: taking it, proving it in a write transaction, renewing, giving it up."""

from __future__ import annotations

from psycopg import errors as pg

from embedspec.errors import LeaseHeld, LeaseLost
from embedspec.stores.lease import provably_dead
from embedspec.stores.protocol import Lease
from embedspec.stores.records import LeaseInfo
from embedspec_pgvector.registry import Cursor, Registry, lease_info

WRITE_TIMEOUT_S = 10
"""How long a takeover waits for a write of the old holder that is under way."""


def current(registry: Registry, cursor: Cursor, name: str) -> LeaseInfo | None:
    """Who holds the lease by the server's clock, expired or not; takes no lock."""
    row = cursor.execute(
        registry.statement(
            "SELECT holder::text, generation, acquired,"
            " extract(epoch FROM expires - clock_timestamp())::float8"
            " FROM {embedspec_lease} WHERE name = %s AND holder IS NOT NULL"
        ),
        (name,),
    ).fetchone()
    return lease_info(*row) if row else None


def take(registry: Registry, cursor: Cursor, name: str, holder: LeaseInfo, ttl_s: float) -> Lease:
    """Take the lease in this transaction, or raise LeaseHeld.

    Changing `generation` waits for transactions that proved the old one, and the row is looked at
    again after the wait: a holder that renewed meanwhile keeps it, and of two takers one wins.
    Takers queue for an advisory lock of this transaction: many at once could deadlock on the row.
    """
    cursor.execute("SELECT set_config('lock_timeout', %s, true)", (f"{WRITE_TIMEOUT_S}s",))
    try:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"embedspec lease {name}",))
    except pg.LockNotAvailable:
        raise _held(name, None) from None
    cursor.execute(
        registry.statement(
            "INSERT INTO {embedspec_lease} (name, generation, acquired, expires)"
            " VALUES (%s, 0, now(), now()) ON CONFLICT (name) DO NOTHING"
        ),
        (name,),
    )
    held = current(registry, cursor, name)
    free_for_us = held is not None and (held.owner == holder.owner or provably_dead(held))
    try:
        row = cursor.execute(
            registry.statement(
                "UPDATE {embedspec_lease} SET generation = generation + 1, owner = %(owner)s,"
                " holder = %(holder)s::json, acquired = clock_timestamp(),"
                " expires = clock_timestamp() + make_interval(secs => %(ttl)s)"
                " WHERE name = %(name)s AND (holder IS NULL OR expires < clock_timestamp()"
                " OR generation = %(seen)s) RETURNING generation"
            ),
            {
                "name": name,
                "owner": holder.owner,
                "holder": holder.model_dump_json(),
                "ttl": ttl_s,
                "seen": held.generation if held is not None and free_for_us else None,
            },
        ).fetchone()
    except pg.LockNotAvailable:
        raise _held(name, held) from None
    if row is None:
        raise _held(name, current(registry, cursor, name) or held)
    return Lease(name, holder.owner, row[0])


def _held(name: str, held: LeaseInfo | None) -> LeaseHeld:
    if held is None:
        what = f"another run is taking the lease on index {name!r}"
    else:
        what = (
            f"{held.owner} (process {held.pid} on {held.host}) has held the lease on index {name!r} since "
            f"{held.acquired:%Y-%m-%d %H:%M:%S %Z}; it expires in {max(held.expires_in_s, 0):.0f} s "
            "unless renewed"
        )
    return LeaseHeld(what, where=f"lease of {name}", fix="wait for it, or run again with --lock-timeout")


def prove(registry: Registry, cursor: Cursor, lease: Lease) -> None:
    """Raises LeaseLost unless this generation still holds; holds a takeover back until commit.

    FOR KEY SHARE, not FOR SHARE: the heartbeat must get through beside a long write.
    """
    row = cursor.execute(
        registry.statement(
            "SELECT 1 FROM {embedspec_lease} WHERE name = %s AND generation = %s AND holder IS NOT NULL"
            " FOR KEY SHARE"
        ),
        (lease.name, lease.generation),
    ).fetchone()
    if row is None:
        raise lost(lease, current(registry, cursor, lease.name))


def renew(registry: Registry, cursor: Cursor, lease: Lease, ttl_s: float) -> None:
    """Raises LeaseLost."""
    cursor.execute(
        registry.statement(
            "UPDATE {embedspec_lease} SET expires = clock_timestamp() + make_interval(secs => %s)"
            " WHERE name = %s AND generation = %s AND holder IS NOT NULL"
        ),
        (ttl_s, lease.name, lease.generation),
    )
    if cursor.rowcount == 0:
        raise lost(lease, current(registry, cursor, lease.name))


def release(registry: Registry, cursor: Cursor, lease: Lease) -> None:
    """The row stays, so that generations never repeat."""
    cursor.execute(
        registry.statement(
            "UPDATE {embedspec_lease} SET generation = generation + 1, owner = NULL, holder = NULL"
            " WHERE name = %s AND generation = %s AND holder IS NOT NULL"
        ),
        (lease.name, lease.generation),
    )


def lost(lease: Lease, held: LeaseInfo | None) -> LeaseLost:
    now = f"{held.owner} holds it now" if held else "nobody holds it now"
    return LeaseLost(
        f"the lease on index {lease.name!r} was lost ({now}); this step was not written",
        where=f"lease of {lease.name}",
        fix="run again",
    )
