"""Filters to SQL over the docs table's metadata, every name and value a bound parameter.

The meaning is that of `embedspec.stores.filters`. Metadata is one flat jsonb object; a missing field
makes every test NULL, which counts as not matched, and `Not` turns "not matched" into "matched".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

from psycopg import sql

from embedspec.types import And, Eq, FieldType, Filter, In, Not, Or, Range, Scalar

_TYPES = {
    FieldType.keyword: sql.SQL("text"),
    FieldType.integer: sql.SQL("numeric"),
    FieldType.float: sql.SQL("numeric"),
    FieldType.boolean: sql.SQL("boolean"),
}

# A jsonb value as a value of the field's type; NULL if it is of another type. Numbers become exact
# decimals: 2^53 + 1 is not 2^53. Collation "C" compares UTF-8 bytes, which is by code point.
_TYPED = {
    FieldType.keyword: sql.SQL(
        "(CASE WHEN jsonb_typeof({v}) IN ('string', 'number', 'boolean') THEN {v} #>> ARRAY[]::text[] END)"
        ' COLLATE "C"'
    ),
    FieldType.integer: sql.SQL("(CASE WHEN jsonb_typeof({v}) = 'number' THEN {v}::numeric END)"),
    FieldType.float: sql.SQL("(CASE WHEN jsonb_typeof({v}) = 'number' THEN {v}::numeric END)"),
    FieldType.boolean: sql.SQL("(CASE WHEN jsonb_typeof({v}) = 'boolean' THEN {v}::boolean END)"),
}


class FilterSql:
    """`condition` and its `parameters` (named f0, f1, …); `metadata` is the jsonb column."""

    def __init__(self, filter: Filter, metadata: sql.Composable) -> None:
        self._metadata = metadata
        self.parameters: dict[str, Any] = {}
        self.condition = self._build(filter)

    def _bind(self, value: Any, kind: sql.SQL) -> sql.Composable:
        name = f"f{len(self.parameters)}"
        self.parameters[name] = value
        return sql.SQL("{}::{}").format(sql.Placeholder(name), kind)

    def _build(self, filter: Filter) -> sql.Composable:
        match filter:
            case And(parts):
                joined = sql.SQL(" AND ").join([self._build(part) for part in parts])
                return sql.SQL("({})").format(joined) if parts else sql.SQL("true")
            case Or(parts):
                joined = sql.SQL(" OR ").join([self._build(part) for part in parts])
                return sql.SQL("({})").format(joined) if parts else sql.SQL("false")
            case Not(part):
                return sql.SQL("({} IS NOT TRUE)").format(self._build(part))
            case Eq(field, kind, value):
                return self._tested(field, kind, [(sql.SQL("="), value)])
            case In(field, kind, values):
                return self._among(field, kind, values)
            case Range():
                bounds = [
                    (sql.SQL(">"), filter.gt),
                    (sql.SQL(">="), filter.gte),
                    (sql.SQL("<"), filter.lt),
                    (sql.SQL("<="), filter.lte),
                ]
                given = [(sign, value) for sign, value in bounds if value is not None]
                return self._tested(filter.field, filter.type, given)
            case _:
                assert_never(filter)

    def _tested(self, field: str, kind: FieldType, tests: list[tuple[sql.SQL, Scalar]]) -> sql.Composable:
        """All tests hold for the field's value, or for one element of it; no tests: a value is there."""
        bound = [(sign, self._bind(_text(value), sql.SQL("text"))) for sign, value in tests]

        def test(value: sql.Composable) -> sql.Composable:
            typed = _TYPED[kind].format(v=value)
            parts = [
                sql.SQL("{} {} {}::{}").format(typed, sign, right, _TYPES[kind]) for sign, right in bound
            ]
            return sql.SQL(" AND ").join(parts or [sql.SQL("{} IS NOT NULL").format(typed)])

        return self._any_element(field, test)

    def _among(self, field: str, kind: FieldType, values: tuple[Scalar, ...]) -> sql.Composable:
        bound = self._bind([_text(value) for value in values], sql.SQL("text[]"))

        def test(value: sql.Composable) -> sql.Composable:
            typed = _TYPED[kind].format(v=value)
            return sql.SQL("{} = ANY ({}::{}[])").format(typed, bound, _TYPES[kind])

        return self._any_element(field, test)

    def _any_element(self, field: str, test: Callable[[sql.Composable], sql.Composable]) -> sql.Composable:
        value = sql.SQL("({} -> {})").format(self._metadata, self._bind(field, sql.SQL("text")))
        return sql.SQL(
            "(CASE WHEN jsonb_typeof({value}) = 'array'"
            " THEN EXISTS (SELECT FROM jsonb_array_elements({value}) AS x(j) WHERE {element})"
            " ELSE {whole} END)"
        ).format(value=value, element=test(sql.SQL("x.j")), whole=test(value))


def _text(value: Scalar) -> str:
    """A value as the text that PostgreSQL casts to the field's type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else repr(value)
