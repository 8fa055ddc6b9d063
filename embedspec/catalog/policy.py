"""Judge what is known of a model against the rules that the spec's `policy` writes down.

A rule that is not written is not evaluated. A fact that is not known gives `unknown`, never a guess;
`policy.unknown` then says whether that ends the run.
"""

from __future__ import annotations

from embedspec.catalog.card import CardFacts
from embedspec.results import PolicyVerdict
from embedspec.spec.model import Policy

_NO_ANSWER = frozenset({"other", "unknown", "not specified", "none", "n/a"})
"""What authors write where they state no licence, or one that has no identifier."""


def judge(policy: Policy | None, card: CardFacts) -> list[PolicyVerdict]:
    """One verdict (pass, fail or unknown) for each rule that is written; now only `licenses`."""
    if policy is None or policy.licenses is None:
        return []
    verdict, reason = _judge_license(policy.licenses, card)
    blocking = verdict == "fail" or (verdict == "unknown" and policy.unknown == "error")
    return [
        PolicyVerdict(rule="licenses", verdict=verdict, reason=reason, source=card.source, blocking=blocking)
    ]


def _judge_license(allowed: tuple[str, ...], card: CardFacts) -> tuple[str, str]:
    """SPDX identifiers are compared without regard to case.

    Of several licences all must be allowed: a card does not say whether one may choose. If only
    some are, that is not known.
    """
    if not card.licenses:
        return "unknown", card.problem or "the card states no licence"
    accepted = {name.strip().lower() for name in allowed}
    unclear = [name for name in card.licenses if name.lower() in _NO_ANSWER]
    inside = [name for name in card.licenses if name.lower() in accepted and name not in unclear]
    listed = ", ".join(allowed)
    if unclear:
        custom = " ".join(filter(None, (card.license_name, card.license_link)))
        return "unknown", f"the card's licence is {', '.join(unclear)!r}" + (f": {custom}" if custom else "")
    if len(inside) == len(card.licenses):
        return "pass", f"{card.license} is allowed"
    if inside:
        return "unknown", (
            f"the card states several licences ({card.license}), of which only {', '.join(inside)} is "
            f"allowed ({listed}); it does not say whether one may choose"
        )
    return "fail", f"{card.license} is not one of {listed}"
