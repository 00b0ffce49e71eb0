"""Examples of what the engine can do."""

from typing import Any

from app.engine.contract.processors import DEFAULT_MODEL

NOTHING_MISSING: dict[str, Any] = {"available": True, "requires": [], "refused": [], "pulls": []}
CYRILLIC_MISSING: dict[str, Any] = {
    "available": False,
    "requires": ["aspose-ocr-cyrillic-v1.ocr"],
    "refused": [],
    "pulls": [{"resource": "aspose-ocr-cyrillic-v1"}],
}
RECOGNITION_REFUSED: dict[str, Any] = {
    "available": False,
    "requires": [],
    "refused": ["aspose-ocr-advanced-recognition-v1.ocr"],
    "pulls": [{"resource": "aspose-ocr-advanced-recognition-v1", "if_exists": "replace"}],
}
RUSSIAN: dict[str, Any] = {"name": "rus", **CYRILLIC_MISSING, "english_name": "Russian", "script": "Cyrillic"}
ENGLISH: dict[str, Any] = {"name": "eng", **NOTHING_MISSING, "english_name": "English", "script": "Latin"}
SPELL_CHECK: dict[str, Any] = {
    "name": "spell-check",
    "available": False,
    "requires": [DEFAULT_MODEL],
    "refused": [],
    "pulls": [
        {
            "repository": "lmstudio-community/Llama-3.2-3B-Instruct-GGUF",
            "file": "Llama-3.2-3B-Instruct-Q4_K_M.gguf",
        }
    ],
}
PDF: dict[str, Any] = {"name": "pdf", "media_type": "application/pdf"}
GERMAN_DICTIONARY: dict[str, Any] = {"language": "deu", "english_name": "German"}
BY_SCHEMA: dict[str, dict[str, Any]] = {
    "AbilityOut": SPELL_CHECK,
    "LanguageOut": RUSSIAN,
    "FormatOut": PDF,
    "DictionaryOut": GERMAN_DICTIONARY,
    "CapabilitiesOut": {
        "vendor": {"package": "aspose-ocr-python-net", "version": "26.10.0"},
        "recognition": None,
        "ai": None,
        "languages": [ENGLISH, RUSSIAN],
        "areas": [{"name": "lean", **NOTHING_MISSING}, {"name": "table", **RECOGNITION_REFUSED}],
        "kinds": [{"name": "passport", **NOTHING_MISSING}, {"name": "receipt", **RECOGNITION_REFUSED}],
        "filters": [{"name": "binarize", **NOTHING_MISSING}],
        "inputs": [{"name": "PNG", "media_type": "image/png"}],
        "outputs": [{"name": "json", "media_type": "application/json"}, PDF],
        "dictionaries": [GERMAN_DICTIONARY],
        "processors": [SPELL_CHECK],
    },
}
