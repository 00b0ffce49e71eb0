"""Makes the OpenAPI document smaller: what occurs several times is described once, among the components.

Nothing that a client reads from the document changes but its place.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from operator import setitem
from typing import Any

LONG_ENUMERATION = 20
"""An enumeration with more values than this becomes a schema of its own."""


def share(document: dict[str, Any]) -> None:
    """Move what occurs several times, and long enumerations, to the document's components."""
    for operation in _operations(document):
        for parameter in operation.get("parameters", []):
            # FastAPI gives a parameter's description to its schema too.
            if parameter["schema"].get("description") == parameter.get("description"):
                parameter["schema"].pop("description", None)
            if not parameter.get("required"):
                parameter.pop("required", None)
    _each(document["paths"], _without_title)
    for schema in document["components"]["schemas"].values():
        _each(schema, _without_title)
    _share_enumerations(document)
    for schema in (document["paths"], document["components"]["schemas"]):
        _each(schema, _short_null)
    _share_examples(document)
    _share_parameters(document)
    _share_headers(document)
    share_responses(document)


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (operation for methods in document["paths"].values() for operation in methods.values())


def _each(part: object, change: Callable[[dict[str, Any]], None]) -> None:
    """Call `change` with every object of a part of the document that is no example."""
    if isinstance(part, dict):
        change(part)
        for name, value in part.items():
            if name not in {"example", "examples"}:
                _each(value, change)
    elif isinstance(part, list):
        for value in part:
            _each(value, change)


def _without_title(schema: dict[str, Any]) -> None:
    """Remove the title that pydantic makes from the name of a property or a class."""
    if isinstance(schema.get("title"), str):
        del schema["title"]


def _short_null(schema: dict[str, Any]) -> None:
    """Write a simple type or null as `"type": [..., "null"]`, which pydantic writes as `anyOf` with two schemas."""
    match schema.get("anyOf"):
        case [dict(first), {"type": "null"}] if "type" in first and not {"enum", "const"} & first.keys():
            del schema["anyOf"]
            schema.update(first)
            schema["type"] = [first["type"], "null"]


def _share_enumerations(document: dict[str, Any]) -> None:
    """Make a schema of each long enumeration, named after the parameter or property that has it."""
    schemas, names = document["components"]["schemas"], dict[str, str]()

    def replace(owner: dict[str, Any], name: str, schema: dict[str, Any]) -> None:
        values = schema.get("enum", [])
        if len(values) <= LONG_ENUMERATION:
            return
        shared = names.setdefault(json.dumps(values), name.title().replace("_", ""))
        schemas[shared] = {"type": "string", "enum": values}
        rest = {key: value for key, value in schema.items() if key not in {"enum", "type"}}
        owner[name] = {"$ref": f"#/components/schemas/{shared}"} | rest

    def replace_properties(schema: dict[str, Any]) -> None:
        properties = schema.get("properties")
        if isinstance(properties, dict):
            for name, found in list(properties.items()):
                replace(properties, name, found)

    for operation in _operations(document):
        for parameter in operation.get("parameters", []):
            holder = {parameter["name"]: parameter["schema"]}
            replace(holder, parameter["name"], parameter["schema"])
            parameter["schema"] = holder[parameter["name"]]
    _each(document["paths"], replace_properties)


def _share_parameters(document: dict[str, Any]) -> None:
    """Describe each parameter once that several operations have."""
    places = _Places()
    for operation in _operations(document):
        for index, parameter in enumerate(parameters := operation.get("parameters", [])):
            places.add(parameter, partial(setitem, parameters, index), parameter["name"])
    places.share_in(document, "parameters")


def _share_headers(document: dict[str, Any]) -> None:
    """Describe each header of answers once that several answers have."""
    places = _Places()
    for operation in _operations(document):
        for response in operation["responses"].values():
            for name, header in (headers := response.get("headers", {})).items():
                places.add(header, partial(setitem, headers, name), name)
    places.share_in(document, "headers")


def share_responses(document: dict[str, Any]) -> None:
    """Describe each answer once that several operations have, named after its status and the first of them."""
    places = _Places()
    for operation in _operations(document):
        for status, response in (responses := operation["responses"]).items():
            name = f"{status}-{operation['operationId'].replace('_', '-')}"
            places.add(response, partial(setitem, responses, status), name)
    places.share_in(document, "responses")


class _Places:
    """The places of a document where parts of one kind are, to replace equal parts with references."""

    def __init__(self) -> None:
        self._found: dict[str, list[tuple[Callable[[dict[str, str]], None], str]]] = defaultdict(list)
        """By the part as JSON: what puts another part in its place, and the name that it would have."""

    def add(self, part: dict[str, Any], put: Callable[[dict[str, str]], None], name: str) -> None:
        """Note a part of the document, unless it is a reference already."""
        if "$ref" not in part:
            self._found[json.dumps(part)].append((put, name))

    def share_in(self, document: dict[str, Any], kind: str) -> None:
        """Move the parts that occur more than once to the components of this kind.

        Of different parts with one name the most common keeps it, and the others get a number.
        """
        shared = document["components"].setdefault(kind, {})
        for text, found in sorted(self._found.items(), key=lambda item: -len(item[1])):
            if len(found) == 1:
                continue
            first, number = found[0][1], 1
            name = first
            while name in shared:
                number += 1
                name = f"{first}-{number}"
            shared[name] = json.loads(text)
            for put, _ in found:
                put({"$ref": f"#/components/{kind}/{name}"})


def _share_examples(document: dict[str, Any]) -> None:
    """Describe each example of an answer once that several answers have, named after its schema."""
    shared, names = document["components"].setdefault("examples", {}), dict[str, str]()
    for operation in _operations(document):
        for response in operation["responses"].values():
            for content in response.get("content", {}).values():
                if "example" not in content or "$ref" not in content["schema"]:
                    continue
                text = json.dumps(content["example"])
                schema = content["schema"]["$ref"].rpartition("/")[2]
                name = names.setdefault(text, f"{schema}-of-{operation['tags'][0]}")
                shared[name] = {"value": content.pop("example")}
                content["examples"] = {"an answer": {"$ref": f"#/components/examples/{name}"}}
