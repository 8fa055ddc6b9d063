"""The licence rule: what passes, what fails, what is unknown, and what of it ends the run."""

from pathlib import Path

import pytest

from embedspec.catalog.card import CardFacts, read_card
from embedspec.catalog.policy import judge
from embedspec.spec.model import Policy


def card(*licenses: str, name: str | None = None, link: str | None = None) -> CardFacts:
    return CardFacts(
        licenses, name, link, "README.md of m", None if licenses else "the card states no licence"
    )


def policy(*licenses: str, unknown: str = "error") -> Policy:
    return Policy.model_validate({"licenses": list(licenses), "unknown": unknown})


def test_no_policy_and_no_rule_give_no_verdict() -> None:
    assert judge(None, card("mit")) == []
    assert judge(Policy(), card("mit")) == []


@pytest.mark.parametrize(
    ("licenses", "verdict"),
    [
        (("apache-2.0",), "pass"),
        (("Apache-2.0",), "pass"),
        (("MIT",), "pass"),
        (("mit", "apache-2.0"), "pass"),
        (("cc-by-nc-4.0",), "fail"),
        (("gpl-3.0", "cc-by-nc-4.0"), "fail"),
        (("apache",), "fail"),
        (("mit", "gpl-3.0"), "unknown"),
        (("mit", "other"), "unknown"),
        (("other",), "unknown"),
        (("Unknown",), "unknown"),
        (("not specified",), "unknown"),
        ((), "unknown"),
    ],
)
def test_verdict(licenses: tuple[str, ...], verdict: str) -> None:
    (found,) = judge(policy("Apache-2.0", "mit"), card(*licenses))
    assert (found.rule, found.verdict, found.source) == ("licenses", verdict, "README.md of m")
    assert found.blocking == (verdict != "pass")


@pytest.mark.parametrize(("unknown", "blocking"), [("error", True), ("warn", False), ("allow", False)])
def test_unknown_decides_only_for_what_is_not_known(unknown: str, blocking: bool) -> None:
    rule = policy("mit", unknown=unknown)
    assert [v.blocking for v in judge(rule, card())] == [blocking]
    assert [v.blocking for v in judge(rule, card("gpl-3.0"))] == [True]
    assert [v.blocking for v in judge(rule, card("mit"))] == [False]


def test_other_in_the_list_does_not_allow_every_custom_licence() -> None:
    (found,) = judge(policy("other", "mit"), card("other", name="own", link="LICENSE"))
    assert found.verdict == "unknown"
    assert found.reason == "the card's licence is 'other': own LICENSE"


def test_reasons_name_both_sides() -> None:
    assert judge(policy("mit", "apache-2.0"), card("gpl-3.0"))[0].reason == (
        "gpl-3.0 is not one of mit, apache-2.0"
    )
    assert judge(policy("mit"), card("mit"))[0].reason == "mit is allowed"
    assert judge(policy("mit"), card())[0].reason == "the card states no licence"
    assert "it does not say whether one may choose" in judge(policy("mit"), card("mit", "gpl-3.0"))[0].reason


def test_broken_card_is_unknown_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: [mit\n---\n")
    (found,) = judge(policy("mit"), read_card(tmp_path))
    assert (found.verdict, found.blocking) == ("unknown", True)
    assert "YAML is broken" in found.reason
