"""Reads the header of an ONNX file: the top-level fields of its model and its graph. Skips nodes and tensors.

An ONNX file is one protobuf message, ModelProto of onnx.proto: a sequence of fields, each with its number, its wire
type and, except for plain numbers, its length. The file has no magic number.
"""

from collections.abc import Iterator
from typing import NamedTuple

from app.store.headers.bounded import BadHeader, Facts, HeaderReader, shown

FIELD_STEPS = 8
"""The cost, in steps, of reading one field. A header may cost MAX_STEPS."""
MAX_IR_VERSION = 99
"""The greatest IR version that is accepted; the newest is 13. A file that begins with a greater number is another
protobuf message."""
MAX_OPSETS = 20
"""How many imported operator sets are kept as facts."""
FIRST_WITH_OPSETS = 3
"""The first IR version in which a model must import at least one operator set."""

VARINT = 0
FIXED_64 = 1
BYTES = 2
FIXED_32 = 5

MODEL = {
    1: VARINT,
    2: BYTES,
    3: BYTES,
    4: BYTES,
    5: VARINT,
    6: BYTES,
    7: BYTES,
    8: BYTES,
    14: BYTES,
}
MODEL |= {20: BYTES, 25: BYTES, 26: BYTES}
"""The wire types of ModelProto's fields by their number."""
MODEL_TEXTS = {2: "producer_name", 3: "producer_version", 4: "domain"}
MODEL_NUMBERS = {1: "ir_version", 5: "model_version"}
GRAPH, OPSET_IMPORT = 7, 8
GRAPH_COUNTS = {1: "node_count", 5: "initialiser_count", 15: "initialiser_count"}
"""By the number of a field of GraphProto (node, initializer, sparse_initializer), the name of the fact that counts the
field."""
GRAPH_NAME = 2
OPSET_DOMAIN, OPSET_VERSION = 1, 2
DEFAULT_DOMAIN = "ai.onnx"

FACTS = (
    "ir_version",
    "producer_name",
    "producer_version",
    "domain",
    "model_version",
    "opset_imports",
    "graph_name",
    "node_count",
    "initialiser_count",
)
"""The names of the facts. The description of an ONNX file has all of them; a fact that the file lacks is None."""


def is_onnx(beginning: bytes) -> bool:
    """True if these can be the first bytes of an ONNX file: a plausible ir_version, then a known field.

    All known writers write fields in the order of their numbers. A few other protobuf messages begin like this too.
    """
    if len(beginning) < 3 or beginning[0] != 1 << 3 | VARINT or not 1 <= beginning[1] <= MAX_IR_VERSION:  # noqa: PLR2004
        return False
    number, wire_type = beginning[2] >> 3, beginning[2] & 7
    return number > 1 and MODEL.get(number) == wire_type


def read_onnx(reader: HeaderReader, facts: Facts) -> None:
    """Add the facts of an ONNX file to `facts`.

    Only nodes and initialisers of the main graph are counted, and no tensors in other files. Raises BadHeader at the
    first error, after adding the facts before it.
    """
    facts.update(dict.fromkeys(FACTS))
    opsets: list[str] = []
    for field in _fields(reader, reader.size_bytes):
        if MODEL.get(field.number, field.wire_type) != field.wire_type:
            raise BadHeader(f"field {field.number} of its model has the wire type {field.wire_type}")
        if field.number in MODEL_NUMBERS:
            facts[MODEL_NUMBERS[field.number]] = _signed(field.value)
        elif field.number in MODEL_TEXTS:
            facts[MODEL_TEXTS[field.number]] = reader.text(field.value)
        elif field.number == OPSET_IMPORT:
            opset = _opset(reader, field.value)
            if len(opsets) < MAX_OPSETS:
                opsets.append(opset)
            facts["opset_imports"] = shown(", ".join(opsets))
        elif field.number == GRAPH:
            _read_graph(reader, field.value, facts)
    if facts["node_count"] is None:
        raise BadHeader("the file ends before its graph")
    version = facts["ir_version"]
    if not opsets and isinstance(version, int) and version >= FIRST_WITH_OPSETS:
        raise BadHeader("it imports no operator set; the end of the file is probably missing")


class _Field(NamedTuple):
    number: int
    wire_type: int
    value: int
    """The number itself if the wire type is VARINT; else the length of the field's content in bytes."""


def _fields(reader: HeaderReader, end: int) -> Iterator[_Field]:
    """Yield the fields of a message that ends at `end`. The caller may read a field's content; the rest is skipped."""
    while reader.position < end:
        reader.step(FIELD_STEPS)
        tag = reader.varint()
        number, wire_type = tag >> 3, tag & 7
        if not number or wire_type not in {VARINT, FIXED_64, BYTES, FIXED_32}:
            raise BadHeader(f"there is no valid field before byte {reader.position:,}")
        value = reader.varint() if wire_type in {VARINT, BYTES} else 8 if wire_type == FIXED_64 else 4
        after = reader.position + (0 if wire_type == VARINT else value)
        if after > reader.size_bytes:
            raise BadHeader(
                f"the file ends after {reader.size_bytes:,} bytes, and a field in it would end after {after:,}"
            )
        if after > end:
            raise BadHeader(f"a field at byte {reader.position:,} ends after the message that contains it")
        yield _Field(number, wire_type, value)
        reader.position = after


def _read_graph(reader: HeaderReader, length: int, facts: Facts) -> None:
    counts = dict.fromkeys(GRAPH_COUNTS.values(), 0)
    for field in _fields(reader, reader.position + length):
        if field.wire_type != BYTES:
            continue
        if field.number in GRAPH_COUNTS:
            counts[GRAPH_COUNTS[field.number]] += 1
        elif field.number == GRAPH_NAME:
            facts["graph_name"] = reader.text(field.value)
    facts.update(counts)


def _opset(reader: HeaderReader, length: int) -> str:
    """Read an operator set, and return it as 'domain version'."""
    domain, version = "", 0
    for field in _fields(reader, reader.position + length):
        if field.number == OPSET_DOMAIN and field.wire_type == BYTES:
            domain = reader.text(field.value)
        elif field.number == OPSET_VERSION and field.wire_type == VARINT:
            version = _signed(field.value)
    return f"{domain or DEFAULT_DOMAIN} {version}"


def _signed(value: int) -> int:
    """Convert protobuf's unsigned number to an int64, whose negative values are written as two's complement."""
    return value - 2**64 if value >= 2**63 else value
