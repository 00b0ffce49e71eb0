"""The OpenAPI document as programs get it: the complete one without what only readers need.

The pages show the complete document, which is almost twice as large. A generator of clients, a gateway or a language
model reads this one. It has the same operations but for HEAD and OPTIONS, with the same parameters, bodies, statuses,
problem types and schemas.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from app.api.docs.shared_components import share_responses
from app.api.http.problems import PROBLEM_MEDIA_TYPE

UNSHOWN_METHODS = ("head", "options")
LONG_DESCRIPTION = 40
"""A description of more characters than this is cut after a sentence."""
END_OF_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`])")
CLAUSE_END = re.compile("; ")
"""Where a long first sentence of a description is cut."""
SCHEMA_CLAUSE_END = re.compile("[;:] ")
"""Where it is cut in a schema, whose members have their values in `enum`."""
EXAMPLES = ("example", "examples")


def compact(document: dict[str, Any]) -> dict[str, Any]:
    """Return a copy without the examples of answers, and with short descriptions."""
    small: dict[str, Any] = json.loads(json.dumps(document))
    for methods in small["paths"].values():
        for method in UNSHOWN_METHODS:
            methods.pop(method, None)
    _without_guides(small)
    components = small["components"]
    examples = components.pop("examples")
    for response in components["responses"].values():
        _name_problems(response, examples)
    for operation in _operations(small):
        _without_repeated_descriptions(operation, components["parameters"])
        operation["description"] = _first_sentences(operation["description"].split("\n\n")[0])
        _without_examples(operation["responses"])
    _without_examples(components["responses"])
    _without_words_about_answers(components["schemas"])
    for part in (small["paths"], components["parameters"], components["headers"]):
        _shorten(part, CLAUSE_END)
    _shorten(components["schemas"], SCHEMA_CLAUSE_END)
    _describe_once(components["schemas"])
    share_responses(small)  # without their examples, more answers are equal
    _drop_unused(components, small)
    return small


def _without_guides(document: dict[str, Any]) -> None:
    """Remove the list of what the service does, which the tags say again, and the tags' links to the guides."""
    paragraphs = document["info"]["description"].split("\n\n")
    document["info"]["description"] = "\n\n".join(each for each in paragraphs if not each.startswith("- "))
    for tag in document["tags"]:
        tag["description"] = tag["description"].partition(" [Guide]")[0]


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (operation for methods in document["paths"].values() for operation in methods.values())


def _name_problems(response: dict[str, Any], examples: dict[str, Any]) -> None:
    """Make the description of a problem response the list of its problem types, with their statuses if these differ."""
    content = response.get("content", {}).get(PROBLEM_MEDIA_TYPE, {})
    statuses = {slug: examples[slug]["value"]["status"] for slug in content.get("examples", {})}
    if statuses:
        differ = len(set(statuses.values())) > 1
        response["description"] = ", ".join(
            f"{status} `{slug}`" if differ else f"`{slug}`" for slug, status in statuses.items()
        )


def _without_examples(responses: dict[str, dict[str, Any]]) -> None:
    """Remove the examples of answers, and the links, which only the pages show."""
    for response in responses.values():
        response.pop("links", None)
        for content in response.get("content", {}).values():
            for name in EXAMPLES:
                content.pop(name, None)


def _without_words_about_answers(schemas: dict[str, Any]) -> None:
    """Remove from the schemas of answers their examples, and that numbers are not negative or not 0.

    Also remove the description of a schema as a whole: its name and the operations that answer with it say the same.
    """
    for name, schema in schemas.items():
        if name.endswith("In"):
            continue
        schema.pop("examples", None)
        if name.endswith("Out"):
            schema.pop("description", None)
        for member in schema.get("properties", {}).values():
            for values in (member, member.get("items", {})):
                for bound in ("minimum", "exclusiveMinimum"):
                    if values.get(bound) == 0:
                        del values[bound]


def _without_repeated_descriptions(operation: dict[str, Any], shared: dict[str, Any]) -> None:
    """Remove the descriptions of a body's members that the operation's parameters of the same names have."""
    parameters = [
        shared[each["$ref"].rpartition("/")[2]] if "$ref" in each else each for each in operation.get("parameters", [])
    ]
    described = {each["name"]: each.get("description") for each in parameters}
    for content in operation.get("requestBody", {}).get("content", {}).values():
        for name, member in content["schema"].get("properties", {}).items():
            if name in described and member.get("description") == described[name]:
                member.pop("description", None)


def _shorten(part: object, clause_end: re.Pattern[str]) -> None:
    """Cut the long descriptions of a part of the document that has no examples of answers."""
    if isinstance(part, dict):
        if isinstance(part.get("description"), str):
            part["description"] = _first_sentences(part["description"], clause_end)
        for name, value in part.items():
            if name not in EXAMPLES:
                _shorten(value, clause_end)
    elif isinstance(part, list):
        for value in part:
            _shorten(value, clause_end)


def _describe_once(schemas: dict[str, Any]) -> None:
    """Keep the description of a member only in the first schema, if others have an equal member of the same name."""
    known = set()
    for schema in schemas.values():
        for name, member in schema.get("properties", {}).items():
            text = json.dumps([name, member])
            if text in known:
                member.pop("description", None)
            known.add(text)


def _first_sentences(text: str, clause_end: re.Pattern[str] = CLAUSE_END) -> str:
    """Return the first sentence, and those after it that still fit LONG_DESCRIPTION, on one line.

    A longer first sentence is cut at `clause_end`.
    """
    sentences = END_OF_SENTENCE.split(" ".join(text.split()))
    kept = sentences.pop(0)
    clause = clause_end.split(kept)[0]
    if len(clause) < len(kept) > LONG_DESCRIPTION and clause.count("(") == clause.count(")"):
        kept = f"{clause}."
    while sentences and len(kept) + len(sentences[0]) < LONG_DESCRIPTION:
        kept += f" {sentences.pop(0)}"
    return kept


def _drop_unused(components: dict[str, Any], document: dict[str, Any]) -> None:
    """Remove the components to which nothing refers any longer."""
    for kind in ("responses", "parameters", "headers"):
        text = json.dumps(document)
        for name in [name for name in components[kind] if f'"#/components/{kind}/{name}"' not in text]:
            del components[kind][name]
