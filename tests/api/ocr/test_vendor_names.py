"""The options `language` and `areas`: the names of the vendor's package, and what is said about other values."""

import pytest
from pydantic import TypeAdapter, ValidationError

from app.api.images.options.vendor_names import (
    FACTS,
    AreasName,
    LanguageName,
    VendorName,
    advise_language,
    similar_languages,
)
from app.main import create_app
from app.settings import Settings
from tests.support.clients.openapi_document import inlined


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("en", "eng"),
        ("ENG", "eng"),
        ("English", "eng"),
        (" deu", "deu"),
        ("ger", "deu"),
        ("de-AT", "deu"),
        ("fr_FR", "fra"),
        ("fa", "pes"),
        ("zh-Hans-CN", "chinese"),
        ("ara", "ara"),
    ],
)
def test_what_certainly_means_a_language_is_found(asked: str, meant: str) -> None:
    """Another case, another code of ISO 639, a tag and an English name mean exactly one language."""
    assert similar_languages(FACTS, asked) == ([meant], True)
    assert f"did you mean '{meant}'" in advise_language(asked)


@pytest.mark.parametrize("asked", ["", "latn", "elvish", "x" * 100_000, "\ud800", "^[a-z]$"])
def test_other_values_get_the_most_similar_names(asked: str) -> None:
    """Anything else gets an example, at most three similar names, and where all are listed; never the value itself."""
    found, is_certain = similar_languages(FACTS, asked)
    advice = advise_language(asked)

    assert not is_certain
    assert len(found) <= 3
    assert all(f"'{code}'" in advice for code in found)
    assert "GET /engine/capabilities lists all" in advice
    assert len(advice) < 300


def test_every_name_of_the_package_is_accepted_and_nothing_else() -> None:
    """Each language and each way to find text of the package is a valid value; a name in capitals is not."""
    for annotated, names in ((LanguageName, FACTS.languages), (AreasName, FACTS.areas)):
        values: TypeAdapter[str] = TypeAdapter(annotated)
        assert [values.validate_python(name) for name in names] == list(names)
        for name in names:
            with pytest.raises(ValidationError, match="did you mean"):
                values.validate_python(name.upper())


def test_the_document_lists_the_names() -> None:
    """The OpenAPI document has the values as enumerations, so that the docs page offers them."""
    document = inlined(create_app(Settings()).openapi())
    parameters = {each["name"]: each for each in document["paths"]["/ocr"]["post"]["parameters"]}

    assert parameters["language"]["schema"]["$ref"] == "#/components/schemas/Language"
    assert document["components"]["schemas"]["Language"]["enum"] == list(FACTS.languages)
    assert parameters["areas"]["schema"]["enum"] == list(FACTS.areas)


def test_the_engine_judges_the_languages_of_an_unknown_package() -> None:
    """If nothing is known of the installed version, any language passes, and the engine has the last word."""
    annotation = VendorName(("eng",), advise_language, is_closed=False)

    assert annotation._check("new") == "new"
