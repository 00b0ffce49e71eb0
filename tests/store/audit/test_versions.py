"""Which versions of a model are superseded, or may be."""

import importlib.metadata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.contract.wheel_facts import DISTRIBUTION, known_facts
from app.store.audit.versions import Newer, newer_versions

NEEDED = frozenset({"aspose-ocr-cyrillic-v1.ocr", "aspose-ocr-cyrillic-v2.ocr", "aspose-ocr-hindi-v2.ocr"})
OFFERED = """
    advanced-preprocessing-v1 advanced-recognition-v1 arabic-v1 chinese-v1 chinese-v2 cyrillic-v1 cyrillic-v2
    doc-type-det-v1 document-structure-detection-v1 formula-det-v1 formula-rec1-v1 formula-rec2-v1 handwriting-v1
    hindi-v1 hindi-v2 japanese-v1 kannada-v1 korean-v1 language-classification-v1 table-det-v1 tamil-v1 telugu-v1
    text-in-wild-v1
"""
"""The 23 OCR models that `RESOURCES.json` of the vendor's public repository lists as `actual`; `aspose-ocr-` is cut."""


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["en_ocr_v1.bin", "en_ocr_v2.bin"], {"en_ocr_v1.bin": "en_ocr_v2.bin"}),
        (["m-v9.gguf", "m-v10.gguf"], {"m-v9.gguf": "m-v10.gguf"}),
        (["m_v1.9.bin", "m_v1.10.bin", "m_v1.bin"], {"m_v1.9.bin": "m_v1.10.bin", "m_v1.bin": "m_v1.10.bin"}),
        (["a/m_v1.bin", "b/m_v2.bin"], {}),
        (["m_v1.bin", "m_v2.gguf"], {}),
        (["m_v1_q4.bin", "m_v2_q8.bin"], {}),
        (["m_v1.bin", "n_v2.bin"], {}),
        (["v1.bin", "v2.bin", "move1.bin", "move2.bin"], {}),
        (["d_v1/m.bin", "d_v2/m.bin"], {}),
    ],
)
def test_a_newer_version_of_the_same_name_supersedes(names: list[str], expected: dict[str, str]) -> None:
    """Versions are compared number by number, in one folder and with one suffix; other names have no version."""
    assert {name: newer.name for name, newer in newer_versions(names, NEEDED).items()} == expected


@given(
    st.lists(st.tuples(st.sampled_from(["a_v", "b-v"]), st.integers(0, 30)), unique=True),
    st.sampled_from([None, frozenset[str]()]),
)
def test_the_newest_of_each_name_is_never_superseded(models: list[tuple[str, int]], needed: frozenset[str]) -> None:
    """For any versions, the newest of each name is not superseded and all others are."""
    names = [f"{before}{version}.bin" for before, version in models]
    superseded = newer_versions(names, needed)

    for before in {before for before, _ in models}:
        newest = max(version for other, version in models if other == before)
        assert f"{before}{newest}.bin" not in superseded
        assert all(f"{before}{v}.bin" in superseded for other, v in models if other == before and v < newest)


def test_a_higher_number_is_a_hint_and_the_vendors_need_is_certain() -> None:
    """Only of OCR models it is known whether the older version is needed too."""
    names = ["en_v1.bin", "en_v2.bin", "aspose-ocr-hindi-v1.ocr", "aspose-ocr-hindi-v2.ocr"]

    assert newer_versions(names, NEEDED) == {
        "en_v1.bin": Newer("en_v2.bin", is_certain=False),
        "aspose-ocr-hindi-v1.ocr": Newer("aspose-ocr-hindi-v2.ocr", is_certain=True),
    }


@pytest.mark.parametrize(
    ("names", "needed", "expected"),
    [
        (["aspose-ocr-cyrillic-v1.ocr", "aspose-ocr-cyrillic-v2.ocr"], NEEDED, {}),
        (["aspose-ocr-hindi-v1.ocr", "aspose-ocr-hindi-v2.ocr"], None, {}),
        (["aspose-ocr-hindi-v1.ocr", "aspose-ocr-hindi-v2.ocr"], frozenset[str](), {}),
        (["aspose-ocr-hindi-v1.ocr"], NEEDED, {}),
        (["aspose-ocr-hindi-v2.ocr", "aspose-ocr-hindi-v3.ocr"], NEEDED, {}),
        (
            ["aspose-ocr-hindi-v1.ocr", "aspose-ocr-hindi-v2.ocr", "aspose-ocr-hindi-v3.ocr"],
            NEEDED,
            {"aspose-ocr-hindi-v1.ocr": "aspose-ocr-hindi-v2.ocr"},
        ),
        (["own-v1.ocr", "own-v2.ocr"], NEEDED, {}),
        (["own-v1.OCR", "own-v2.OCR"], NEEDED, {}),
        (["a/aspose-ocr-hindi-v1.ocr", "a/aspose-ocr-hindi-v2.ocr", "aspose-ocr-hindi-v1.ocr"], NEEDED, None),
    ],
)
def test_an_ocr_model_is_superseded_only_by_one_that_is_needed(
    names: list[str], needed: frozenset[str] | None, expected: dict[str, str] | None
) -> None:
    """A needed one, one whose successor is absent or not needed, and any one of an unknown package stay current."""
    if expected is None:
        expected = {"a/aspose-ocr-hindi-v1.ocr": "a/aspose-ocr-hindi-v2.ocr"}
    assert {name: newer.name for name, newer in newer_versions(names, needed).items()} == expected


def test_of_every_name_that_the_vendor_offers_no_needed_one_is_superseded() -> None:
    """In a folder with versions 1 and 2 of each OCR model of the public list, only what this wheel replaced is old."""
    facts = known_facts(importlib.metadata.version(DISTRIBUTION))
    assert facts
    stems = {offered.rpartition("-v")[0] for offered in OFFERED.split()}
    names = [f"aspose-ocr-{stem}-v{version}.ocr" for stem in stems for version in (1, 2)]

    superseded = newer_versions(names, facts.ocr_models)

    assert not facts.ocr_models & superseded.keys()
    assert set(superseded) == {
        "aspose-ocr-chinese-v1.ocr",
        "aspose-ocr-hindi-v1.ocr",
        "aspose-ocr-document-structure-detection-v1.ocr",
    }
