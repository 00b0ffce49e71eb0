"""A program that asks the vendor's wheel which functions it has and which OCR models each needs, and prints JSON.

    python -P -m app.engine.child.aspose_requirements [LANGUAGE ...]

The program must run with the working directory and the environment of an engine process. The program calls every
function on a file that is not an image, with an empty folder of OCR models and with downloads off. The wheel looks for
its OCR models before it opens the image (measured with 26.10.0). So a call ends with one of two errors: `Please install
the '<file>' first`, or an error about the image, which means that no OCR model is missing. Filters work on the opened
image, so the program tries filters on a real image of 8 x 8 pixels.

A language that needs no file costs 0.2 s of CPU, since the wheel loads the language's model before it opens the image;
all languages together cost 28 s. If languages are given as arguments, the answer has only these languages, which is for
quick tests.
"""

import importlib.metadata
import re
import sys
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aspose.ocr import (
    AsposeOcr,
    DefectType,
    DetectAreasMode,
    InputType,
    Language,
    OcrInput,
    RecognitionSettings,
    Resources,
    SaveFormat,
)
from aspose.ocr.models.preprocessingfilters import PreprocessingFilter
from aspose.ocr.spellchecker import SpellCheckLanguage
from iso639 import Lang
from iso639.exceptions import DeprecatedLanguageValue, InvalidLanguageValue
from PIL import Image

from app.engine.contract.wheel_facts import DISTRIBUTION, WheelFacts

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "detect_defects": (DefectType.ALL,),
    "recognize_formula": (True,),
    "recognize_tables": (Language.ENG,),
}
"""By the name of a method of `AsposeOcr`, the arguments that the method takes besides the input."""
METHODS = re.compile(r"recognize.*|detect_.*|calculate_skew")
"""The methods of `AsposeOcr` that take an `OcrInput`."""
FILTER_ARGUMENTS: tuple[tuple[Any, ...], ...] = ((), (2,), (2.0,), (8, 8))
"""Lists of arguments to try on a filter, one after another, until the vendor accepts one."""
LANGUAGES_AT_ONCE = 10
"""How many languages are tried before the memory of their models is released. A model takes 13 MB; a release costs a
second of CPU."""
NOT_AN_IMAGE, IMAGE = "not-an-image.png", "image.png"


def facts(languages: Container[str]) -> WheelFacts:
    """Ask the wheel about all its functions, and about those of its languages that are in `languages`.

    Raises NotWheelFacts if the wheel's answers cannot be right.
    """
    resources = Path("resources")
    resources.mkdir()
    Resources.allow_automatic_downloads(False)  # noqa: FBT003 - the vendor takes no keywords
    Resources.set_local_path(str(resources.absolute()), False)  # noqa: FBT003
    Path(NOT_AN_IMAGE).write_bytes(b"not an image")
    Image.new("L", (8, 8), 255).save(IMAGE)
    engine = AsposeOcr()
    english = {name: called for name in _lower(Language) if (called := _called(name))}
    answers = WheelFacts(
        version=importlib.metadata.version(DISTRIBUTION),
        languages=_language_needs(engine, languages),
        language_names={name: called.name for name, called in english.items()},
        language_aliases=_aliases(english),
        areas={
            name.lower(): _recognition_needs(engine, "detect_areas_mode", DetectAreasMode, name)
            for name in names_of(DetectAreasMode)
        },
        methods=_method_needs(engine),
        filters=_filter_needs(engine),
        formats=_lower(SaveFormat),
        inputs=_lower(InputType),
        dictionaries=_lower(SpellCheckLanguage),
    )
    return WheelFacts.from_json(answers.to_json())  # checks them


@dataclass(frozen=True)
class _Called:
    """The names and codes of a language in ISO 639."""

    name: str
    codes: tuple[str, ...] = ()
    group: str = ""
    """The name of the macrolanguage, such as Chinese for Mandarin Chinese; empty if there is none."""
    group_codes: tuple[str, ...] = ()


def _called(language: str) -> _Called | None:
    """Return the English name and the other codes of a language; None if `language` is a group of languages."""
    try:
        known = Lang(language)
    except DeprecatedLanguageValue as retired:
        return _Called(retired.name)
    except InvalidLanguageValue:
        return None
    group = known.macro()
    if group is None:
        return _Called(known.name, _codes(known))
    return _Called(known.name, _codes(known), group.name, _codes(group))


def _codes(known: Lang) -> tuple[str, ...]:
    return tuple(filter(None, (known.pt1, known.pt2b, known.pt3)))


def _aliases(english: Mapping[str, _Called]) -> dict[str, str]:
    """Return, by each ISO 639 code that is not itself a name of the vendor, the vendor's name of the language.

    The code of a macrolanguage, such as `zh`, stands for the vendor's group of the same name, or if there is none, for
    the first language of the macrolanguage.
    """
    groups = set(_lower(Language)) - english.keys()
    aliases = {code: name for name, called in english.items() for code in called.codes}
    for name, called in english.items():
        for code in called.group_codes:
            group = called.group.lower()
            aliases.setdefault(code, group if group in groups else name)
    return {code: name for code, name in aliases.items() if code not in english}


def names_of(enumeration: type) -> list[str]:
    """Return the names of the members of a vendor's enumeration, sorted."""
    return sorted(name for name in dir(enumeration) if name.isupper())


def _lower(enumeration: type) -> tuple[str, ...]:
    return tuple(name.lower() for name in names_of(enumeration))


def _language_needs(engine: AsposeOcr, languages: Container[str]) -> dict[str, tuple[str, ...]]:
    needs = {}
    for number, name in enumerate(filter(lambda name: name.lower() in languages, names_of(Language))):
        needs[name.lower()] = _recognition_needs(engine, "language", Language, name)
        if number % LANGUAGES_AT_ONCE == 0:
            Resources.release_memory()
    return needs


def _recognition_needs(engine: AsposeOcr, setting: str, enumeration: type, name: str) -> tuple[str, ...]:
    settings = RecognitionSettings()
    setattr(settings, setting, getattr(enumeration, name))
    return _needs(partial(engine.recognize, _input(NOT_AN_IMAGE), settings))


def _method_needs(engine: AsposeOcr) -> dict[str, tuple[str, ...]]:
    """Return the OCR models that each method needs.

    Methods with unknown arguments are left out, and named on stderr.
    """
    needs = {}
    for name in filter(METHODS.fullmatch, dir(AsposeOcr)):
        method, arguments = getattr(engine, name), ARGUMENTS.get(name, ())
        try:
            needs[name] = _needs(partial(method, _input(NOT_AN_IMAGE), *arguments))
        except TypeError as exc:
            sys.stderr.write(f"{name} takes other arguments: {exc}\n")
    return needs


def _filter_needs(engine: AsposeOcr) -> dict[str, tuple[str, ...]]:
    """Return the OCR models that each filter needs. A filter is a vendor's function that takes up to two numbers."""
    needs = {}
    for name in sorted(set(dir(PreprocessingFilter)) - {"add", "get_type"}):
        if not name.startswith("_") and (made := _filter(name)):
            filters = PreprocessingFilter()
            filters.add(made)
            needs[name] = _needs(partial(engine.recognize, _input(IMAGE, filters), RecognitionSettings()))
    return needs


def _filter(name: str) -> Any:  # noqa: ANN401
    """Return the vendor's filter called `name`, or None if `name` is not the name of a filter."""
    for arguments in FILTER_ARGUMENTS:
        try:
            return getattr(PreprocessingFilter, name)(*arguments)
        except TypeError:
            continue
    return None


def _input(image: str, filters: PreprocessingFilter | None = None) -> OcrInput:
    source = OcrInput(InputType.SINGLE_IMAGE, filters or PreprocessingFilter())
    source.add(image)
    return source


def _needs(call: Callable[[], object]) -> tuple[str, ...]:
    """Return the file name of the OCR model that a call asks for, in a tuple; empty if the call asks for none."""
    try:
        call()
    except RuntimeError as exc:
        if match := re.search(r"install the '([^']+)'", str(exc)):
            return (match[1],)
    return ()


if __name__ == "__main__":
    sys.stdout.write(facts(sys.argv[1:] or [name.lower() for name in names_of(Language)]).to_json())
