"""Options whose values are names of the vendor: the values that the installed package has, and sentences for others.

The values come from `app.engine.contract.wheel_facts`. If they are not known for the installed version of the package,
the values of the newest known version are used. Any other language is then passed to the engine, which refuses a
language that it does not have.
"""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from app.engine.contract.wheel_facts import WheelFacts, installed_version, known_facts, newest_known_facts

MAX_COMPARED_CHARS = 64
"""How many characters of a value are compared with names. No name is so long."""
MAX_SIMILAR = 3

_known = known_facts(installed_version())
FACTS: WheelFacts = _known or newest_known_facts()


@dataclass(frozen=True, slots=True)
class VendorName:
    """Annotates an option's type: a string that must be one of the vendor's names."""

    names: tuple[str, ...]
    advice: Callable[[str], str]
    """Returns the sentence for a value that is not allowed."""
    is_closed: bool = True
    """Whether values that are not among the names are refused."""

    def __get_pydantic_core_schema__(self, source: type[str], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return pydantic's schema of the string, followed by this check."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema for the OpenAPI document, which has the names."""
        return handler(schema) | ({"enum": list(self.names)} if self.is_closed else {"examples": list(self.names)})

    def _check(self, text: str) -> str:
        if text not in self.names and self.is_closed:
            raise PydanticCustomError("vendor_name", "{sentence}", {"sentence": self.advice(text)})
        return text


def similar_languages(facts: WheelFacts, text: str) -> tuple[list[str], bool]:
    """Return the languages that a value may mean, and whether it certainly means the first.

    The meaning is certain for other upper or lower case, for another ISO 639 code (`de`, `ger`), for a tag such as
    `de-AT`, and for the English name of a language. Otherwise the names and English names that are written most alike
    are returned.
    """
    asked = text[:MAX_COMPARED_CHARS].strip().casefold()
    by_name = {name.casefold(): code for code, name in facts.language_names.items()}
    for each in (asked, re.split("[-_ ]", asked)[0]):
        for found in (each if each in facts.languages else None, facts.language_aliases.get(each), by_name.get(each)):
            if found:
                return [found], True
    every = {code: code for code in facts.languages} | by_name
    close = difflib.get_close_matches(asked, every, n=2 * MAX_SIMILAR)
    return list(dict.fromkeys(every[name] for name in close))[:MAX_SIMILAR], False


def advise_language(text: str) -> str:
    """Return the sentence for a language that the engine does not have."""
    rule = "must be the name of a language or script that the engine has"
    found, is_certain = similar_languages(FACTS, text)
    shown = [f"'{code}' ({name})" if (name := FACTS.language_names.get(code)) else f"'{code}'" for code in found]
    if is_certain:
        return f"{rule}; did you mean {shown[0]}?"
    similar = f"; the most similar are {', '.join(shown)}" if shown else ""
    return f"{rule}, such as 'eng' or 'latin'{similar}; GET /engine/capabilities lists all"


def advise_areas(text: str) -> str:
    """Return the sentence for a way to find text that the engine does not have."""
    allowed = ", ".join(f"'{name}'" for name in FACTS.areas)
    close = difflib.get_close_matches(text[:MAX_COMPARED_CHARS].strip().casefold(), FACTS.areas, n=1)
    return f"must be one of {allowed}" + (f"; did you mean '{close[0]}'?" if close else "")


LanguageName = Annotated[str, VendorName(tuple(FACTS.languages), advise_language, is_closed=_known is not None)]
"""A name of the vendor's `Language`, in lower case."""
AreasName = Annotated[str, VendorName(tuple(FACTS.areas), advise_areas)]
"""A name of the vendor's `DetectAreasMode`, in lower case."""
