"""Makes the OpenAPI document smaller: what occurs several times is described once, among the components.

Nothing that a client reads from the document changes but its place.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

LONG_ENUMERATION = 20
"""An enumeration with more values than this becomes a schema of its own."""


def share(document: dict[str, Any]) -> None:
    """Move parameters and headers that occur several times, and long enumerations, to the document's components."""
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
    _share_examples(document)
    _share_parameters(document)
    _share_headers(document)


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
    """Describe each parameter once that several operations have.

    Of different parameters with one name, the most common is shared.
    """
    places: dict[tuple[str, str], list[tuple[list[Any], int]]] = defaultdict(list)
    for operation in _operations(document):
        parameters = operation.get("parameters", [])
        for index, parameter in enumerate(parameters):
            places[parameter["name"], json.dumps(parameter)].append((parameters, index))
    shared = document["components"].setdefault("parameters", {})
    for (name, text), found in sorted(places.items(), key=lambda item: -len(item[1])):
        if len(found) > 1 and name not in shared:
            shared[name] = json.loads(text)
            for parameters, index in found:
                parameters[index] = {"$ref": f"#/components/parameters/{name}"}


def _share_headers(document: dict[str, Any]) -> None:
    """Describe each header of answers once that several answers have, in the same way as parameters."""
    places: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for operation in _operations(document):
        for response in operation["responses"].values():
            for name, header in response.get("headers", {}).items():
                if "$ref" not in header:
                    places[name, json.dumps(header)].append(response["headers"])
    shared = document["components"].setdefault("headers", {})
    for (name, text), found in sorted(places.items(), key=lambda item: -len(item[1])):
        if len(found) > 1 and name not in shared:
            shared[name] = json.loads(text)
            for headers in found:
                headers[name] = {"$ref": f"#/components/headers/{name}"}


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
