"""The OpenAPI document as the tests read it."""

from typing import Any

INLINED = ("examples", "headers", "parameters", "responses")
"""The kinds of components whose references `inlined` replaces. Schemas may refer to themselves, so they stay."""


def inlined(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document with each reference to a parameter, response, header or example replaced by its target."""
    return dict(_inlined(document, document))


def statuses_of(document: dict[str, Any], path: str, method: str) -> dict[str, dict[str, Any]]:
    """Return the answers of an operation by status, those of its `default` response too.

    The document must be inlined. The `default` response of HEAD stands for the problems of GET.
    """
    operation = document["paths"][path][method]
    answers = {status: answer for status, answer in operation["responses"].items() if status != "default"}
    default = operation["responses"]["default"]
    if method == "head":
        of_get = statuses_of(document, path, "get")
        return {status: default for status in of_get if status[0] in "45"} | answers
    problems = default["content"]["application/problem+json"]["examples"].values()
    return {str(each["value"]["status"]): default for each in problems} | answers


def _inlined(part: Any, document: dict[str, Any]) -> Any:
    if isinstance(part, dict):
        reference = part.get("$ref")
        kind = reference.split("/")[2] if isinstance(reference, str) else None
        if kind in INLINED:
            return _inlined(document["components"][kind][str(reference).split("/")[3]], document)
        return {name: _inlined(value, document) for name, value in part.items()}
    if isinstance(part, list):
        return [_inlined(value, document) for value in part]
    return part
