"""Conformance tests of filters: one table of cases, compared with `filters.matches`."""

from __future__ import annotations

from typing import Any

import numpy as np

from embedspec.stores.filters import matches
from embedspec.testing.bench import Bench, Item, unit_vectors
from embedspec.types import And, Eq, FieldType, Filter, In, Not, Or, Range

KEYWORD, INTEGER, FLOAT, BOOLEAN = (
    FieldType.keyword,
    FieldType.integer,
    FieldType.float,
    FieldType.boolean,
)
ODD_FIELD = 'it\'s "odd" \\ %s ünï'
"""A field's name that must be bound or quoted, never pasted."""

BIG = 9007199254740993
"""2**53 + 1: no float64 is equal to it."""

RECORDS: list[dict[str, Any]] = [
    {},
    {"lang": None},
    {"lang": "de", "meta.year": 2024, "price": 1.5, "public": True},
    {"lang": "en", "meta.year": 2020, "price": 2, "public": False},
    {"lang": "fr", "meta.year": -3, "price": -0.5},
    {"lang": "", "meta.year": 0, "price": 0.0},
    {"lang": "DE"},
    {"lang": "de "},
    {"lang": "2025_0042"},
    {"lang": "1e3"},
    {"lang": "1000"},
    {"lang": "nan"},
    {"lang": "true"},
    {"lang": "null"},
    {"lang": "D'Arcy"},
    {"lang": 'say "hi"'},
    {"lang": "back\\slash"},
    {"lang": "a,b"},
    {"lang": "x' OR 1=1 --"},
    {"lang": "%"},
    {"lang": "ünïcödé"},
    {"lang": "日本語"},
    {"lang": "\U0001f600"},
    {"lang": "\uffee"},
    {"lang": "line\nbreak\ttab"},
    {"lang": 1000},
    {"lang": 1000.0},
    {"lang": 1e16},
    {"lang": -7},
    {"lang": True},
    {"lang": False},
    {"lang": ["de", "en"]},
    {"lang": []},
    {"lang": [None, 5]},
    {"lang": {"de": "de"}},
    {"lang": [["de"], {"a": "de"}]},
    {"tags": ["a", "b", "D'Arcy"]},
    {"tags": ["b", 3, True]},
    {"tags": "a"},
    {"meta.year": 2024.0},
    {"meta.year": 2024.5},
    {"meta.year": "2024"},
    {"meta.year": True},
    {"meta.year": [1999, 2030]},
    {"meta.year": [1999, "2024"]},
    {"meta.year": BIG},
    {"meta.year": BIG - 1},
    {"meta.year": 2**63 - 1},
    {"price": 0.1},
    {"price": 1},
    {"price": "1.5"},
    {"price": 1e-7},
    {"price": 1.7e300},
    {"price": [0.1, 100]},
    {"public": [True, False]},
    {"public": "true"},
    {"public": 1},
    {"public": 0},
    {ODD_FIELD: "yes", "meta": {"year": 2024}},
    {ODD_FIELD: "no"},
]


def _cases() -> list[Filter]:
    texts = [
        *("de", "DE", "", "2025_0042", "1e3", "1000", "1000.0", "10000000000000000", "nan", "true", "false"),
        *("null", "D'Arcy", 'say "hi"', "back\\slash", "a,b", "x' OR 1=1 --", "%", "d_", "ünïcödé", "日本語"),
        *("\U0001f600", "line\nbreak\ttab", "-7", "5", "absent", '{"de": "de"}', '["de"]', "$1", "{de}"),
    ]
    cases: list[Filter] = [Eq("lang", KEYWORD, text) for text in texts]
    cases += [Eq("tags", KEYWORD, text) for text in ("a", "b", "3", "true", "D'Arcy", '"a"')]
    cases += [
        In("lang", KEYWORD, ("de", "D'Arcy", "1e3", "a,b")),
        In("lang", KEYWORD, ("only one",)),
        In("lang", KEYWORD, ()),
        In("tags", KEYWORD, ("a", "3")),
        In("meta.year", INTEGER, (2024, -3, BIG)),
        In("price", FLOAT, (0.1, 2.0)),
        In("public", BOOLEAN, (True,)),
        In("public", BOOLEAN, (True, False)),
        *(Eq("meta.year", INTEGER, value) for value in (2024, 0, -3, 1, BIG, BIG - 1, 2**63 - 1, -(2**63))),
        *(Eq("price", FLOAT, value) for value in (1.5, 2.0, 0.0, 0.1, 1.0, 1e-7, 1.7e300)),
        *(Eq("public", BOOLEAN, value) for value in (True, False)),
        Range("meta.year", INTEGER, gte=2020),
        Range("meta.year", INTEGER, gt=2020),
        Range("meta.year", INTEGER, lt=2020),
        Range("meta.year", INTEGER, lte=2020),
        Range("meta.year", INTEGER, gte=0, lt=2024),
        Range("meta.year", INTEGER, gt=2000, lt=2020),
        Range("meta.year", INTEGER, gt=BIG - 1),
        Range("price", FLOAT, gt=0.1, lte=1.5),
        Range("price", FLOAT, gte=-0.5, lt=0.1),
        Range("price", FLOAT, gt=50.0),
        Range("lang", KEYWORD, gte="a", lt="e"),
        Range("lang", KEYWORD, gt="1", lte="2"),
        Range("lang", KEYWORD, gt="z"),
        Range("lang", KEYWORD, gte="\uffee", lte="\U0001f600"),
        Range("lang", KEYWORD, lt="D"),
        Range("tags", KEYWORD, gt="a"),
        Eq(ODD_FIELD, KEYWORD, "yes"),
        In(ODD_FIELD, KEYWORD, ("yes", "no")),
    ]
    german, recent = Eq("lang", KEYWORD, "de"), Range("meta.year", INTEGER, gte=2020)
    return [
        *cases,
        Not(german),
        Not(Not(german)),
        Not(In("meta.year", INTEGER, (2024,))),
        Not(Range("price", FLOAT, gt=1.0)),
        Not(Eq("public", BOOLEAN, True)),
        Not(Eq(ODD_FIELD, KEYWORD, "yes")),
        And((german, recent)),
        Or((german, recent)),
        And((Not(german), recent)),
        Or((Not(recent), And((german, Eq("public", BOOLEAN, True))))),
        Not(Or((german, recent))),
        Not(And((german, recent))),
        And((german,)),
        And(()),
        Or(()),
        Not(And(())),
    ]


FILTER_CASES = _cases()


class FilterPromises:
    def test_filters_mean_what_the_reference_says(self, bench: Bench) -> None:
        vectors = unit_vectors(len(RECORDS), 8)
        items = [Item(f"r{i}", vectors[i], text=f"t{i}", metadata=record) for i, record in enumerate(RECORDS)]
        query = np.ones(8, dtype=np.float32)
        faults = []
        with bench.open_store() as store:
            build = bench.build()
            build = build.model_copy(update={"fields": {**build.fields, ODD_FIELD: KEYWORD}})
            lease = bench.start(store, build)
            bench.write(store, lease, build, items)
            for case in FILTER_CASES:
                wanted = {item.id for item in items if matches(case, item.metadata)}
                found = bench.ids(store, build, query, len(items), filter=case)
                if set(found) != wanted or len(found) != len(set(found)):
                    extra = [RECORDS[int(i[1:])] for i in set(found) - wanted]
                    missed = [RECORDS[int(i[1:])] for i in wanted - set(found)]
                    faults.append(f"{case}: extra {extra}, missed {missed}")
        assert not faults, (
            f"{len(faults)} of {len(FILTER_CASES)} filters differ from embedspec.stores.filters.matches; if "
            "this fails, check that values are bound (never pasted, never guessed to be numbers), that JSON "
            "types are told apart, and how missing fields and lists count:\n" + "\n".join(faults)
        )

    def test_a_filter_is_applied_before_the_cut_at_k(self, bench: Bench) -> None:
        vectors = unit_vectors(100, 8)
        items = [Item(f"d{i}", vectors[i], text=f"t{i}", metadata={"meta.year": i}) for i in range(100)]
        old = Range("meta.year", INTEGER, lt=10)
        with bench.open_store() as store:
            _, build = bench.fill(store, items)
            for query in unit_vectors(5, 8, seed=3):
                found = bench.ids(store, build, query, 10, filter=old)
                assert sorted(found) == sorted(f"d{i}" for i in range(10)), (
                    "a filtered search gave fewer rows than match; if this fails, check that the filter is "
                    "part of the query and not applied to its k hits"
                )

    def test_a_patched_row_is_filtered_by_its_new_metadata(self, bench: Bench) -> None:
        vectors = unit_vectors(2, 8)
        items = [Item(f"d{i}", vectors[i], text=f"t{i}", metadata={"lang": "de"}) for i in range(2)]
        with bench.open_store() as store:
            lease, build = bench.fill(store, items)
            new = Item("d0", vectors[0], text="t0", metadata={"lang": "en"})
            bench.patch(store, lease, build, [new])
            assert bench.ids(store, build, vectors[0], 5, filter=Eq("lang", KEYWORD, "en")) == ["d0"]
            assert bench.ids(store, build, vectors[0], 5, filter=Eq("lang", KEYWORD, "de")) == ["d1"], (
                "a patched row is still found by its old metadata"
            )
