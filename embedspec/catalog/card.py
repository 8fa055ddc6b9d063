"""The facts that a model's own card (README.md in its folder) states about its licence.

The card decides; the licence of a wheel or image around the model is that of the packaging. What the
card does not say stays unknown: nothing here is guessed from names, tags or base models.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CARD_NAME = "README.md"


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What a card says. `problem` tells why `licenses` is empty, where it is."""

    licenses: tuple[str, ...]
    """As written in the card; several if it gives a list."""
    license_name: str | None
    """Name of a custom licence (beside `license: other`)."""
    license_link: str | None
    source: str
    """Where the facts are from, for messages: `README.md of …`."""
    problem: str | None = None

    @property
    def license(self) -> str | None:
        """The licence in one text (a list is joined by commas), None where it is not stated."""
        return ", ".join(self.licenses) or None


def read_card(folder: Path, model: str | None = None) -> CardFacts:
    """Read the card in a model's folder. `model` is the name to give it in `source`.

    Never raises for what is in the folder: no card, no front matter or YAML that cannot be read
    are facts that are unknown, with the reason in `problem`.
    """
    source = f"{CARD_NAME} of {model or folder.name}"
    try:
        text = (folder / CARD_NAME).read_text(encoding="utf-8-sig")
        data = _front_matter(text)
    except FileNotFoundError:
        return _unknown(source, "the model has no card (README.md)")
    except (OSError, UnicodeDecodeError) as error:
        return _unknown(source, f"the card cannot be read: {error}")
    except yaml.MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 2})" if error.problem_mark else ""
        return _unknown(source, f"the card's YAML is broken{line}: {error.problem}")
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        return _unknown(source, f"the card's YAML cannot be understood: {error}")
    stated = data.get("license")
    values = stated if isinstance(stated, list) else [] if stated is None else [stated]
    name, link = _text(data.get("license_name")), _text(data.get("license_link"))
    strange = [value for value in values if not isinstance(value, str)]
    if strange:
        return CardFacts((), name, link, source, f"the card's `license` is {strange[0]!r}, which is no text")
    licenses = tuple(word for value in values if (word := _text(value)))
    return CardFacts(licenses, name, link, source, None if licenses else "the card states no licence")


def _front_matter(text: str) -> dict[str, Any]:
    """The YAML block at the head of a card; empty if there is none.

    `RepoCard`, not `ModelCard`: the latter also parses the evaluation results, and fails on theirs.
    """
    from huggingface_hub.repocard import REGEX_YAML_BLOCK, RepoCard

    if not REGEX_YAML_BLOCK.search(text):
        return {}
    data: dict[str, Any] = RepoCard(text).data.to_dict()  # type: ignore[no-untyped-call] # has no hints
    return data


def _unknown(source: str, problem: str) -> CardFacts:
    return CardFacts((), None, None, source, problem)


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
