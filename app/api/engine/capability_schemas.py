"""The answer of `GET /engine/capabilities`."""

from app.api.engine.schemas import VendorOut
from app.api.http.schema import Schema


class AbilityOut(Schema):
    """One function of the engine: whether it is available, and which models it requires."""

    name: str
    """The function's name: a value of a parameter of `POST /ocr`, or the last part of a path below `/ai`."""
    available: bool
    """Whether nothing that the function needs is known to be missing. An engine that was not asked yet counts as
    complete."""
    requires: list[str]
    """The models that the function needs and that are not in the model folder. The vendor's package names one missing
    OCR model at a time, so the function may need another one later."""
    refused: list[str]
    """The OCR models that the function needs and that are in the model folder, but whose files the engine has refused
    for their size since the service started."""
    pulls: list[dict[str, str]]
    """The bodies of `POST /pulls` that fetch the models in `requires` and replace the models in `refused`."""


class LanguageOut(AbilityOut):
    """A language, or a group of languages, that the engine reads."""

    english_name: str | None
    """The English name that ISO 639-3 has for the language. Null for a group of languages."""
    script: str | None
    """The script that the engine reads, as ISO 15924 calls it. Null if the engine chooses by the image."""


class FormatOut(Schema):
    """A format of images or of results."""

    name: str
    """The name of the format."""
    media_type: str
    """The media type: the `Content-Type` of an image, or the `Accept` of a result."""


class DictionaryOut(Schema):
    """A language of the engine's own dictionaries."""

    language: str
    """The name of the language, as in `languages`."""
    english_name: str | None
    """The English name of the language."""


class CapabilitiesOut(Schema):
    """What recognition and the processors can do with this engine."""

    vendor: VendorOut
    """The vendor's package that has these capabilities."""
    recognition: str | None
    """Why the engine cannot recognise anything on this machine. Null if it can, or if it was not asked yet."""
    ai: str | None
    """Why no processor can run on this machine. Null if they can, or if the engine was not asked yet."""
    languages: list[LanguageOut]
    """The languages and groups of languages: the values of the parameter `language`."""
    areas: list[AbilityOut]
    """The ways to find text on a page: the values of the parameter `areas`."""
    kinds: list[AbilityOut]
    """The kinds of images: the values of the parameter `kind`."""
    filters: list[AbilityOut]
    """The changes that can be made to an image before it is read: the names in the parameter `filters`."""
    inputs: list[FormatOut]
    """The formats of images that can be read."""
    outputs: list[FormatOut]
    """The formats of results."""
    dictionaries: list[DictionaryOut]
    """The languages that `correct=dictionary` corrects, without a language model."""
    processors: list[AbilityOut]
    """AsposeAI's processors, by the names of their routes below `/ai`."""
