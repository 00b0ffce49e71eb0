"""Descriptions of ONNX files."""

import pytest

from app.store.headers.bounded import MAX_STEPS
from app.store.headers.description import Description
from app.store.headers.onnx import FIELD_STEPS, MAX_OPSETS
from tests.support.files.model_files import described, message, peak_of, tiny_onnx, varint

OPSETS = (8, message((2, 17)))
GRAPH = (7, message((2, "main")))


def test_a_whole_file() -> None:
    """The description of a whole file has every fact."""
    assert described(tiny_onnx(), "a.onnx") == Description(
        "onnx",
        None,
        {
            "ir_version": 8,
            "producer_name": "pytorch",
            "producer_version": "2.1.0",
            "domain": None,
            "model_version": 0,
            "opset_imports": "ai.onnx 17, ai.onnx.ml 3",
            "graph_name": "main",
            "node_count": 2,
            "initialiser_count": 1,
        },
    )


def test_unknown_fields_are_skipped() -> None:
    """Unknown fields of every wire type are skipped; negative numbers and sparse initialisers are read."""
    unknown = varint(90 << 3 | 1) + bytes(8) + varint(91 << 3 | 5) + bytes(4) + message((92, 1), (93, "x"))
    graph = unknown + message((2, "g"), (15, "sparse"), (1, b""), (1, 5)) + unknown
    description = described(message((1, 9), (2, "x")) + unknown + message((5, -1), (7, graph), OPSETS))

    assert description.problem is None
    assert description.facts["model_version"] == -1
    assert (description.facts["node_count"], description.facts["initialiser_count"]) == (1, 1)


def test_tensors_are_not_read() -> None:
    """Only the lengths of tensors are read: a file of 20 MB takes less than 100 kB."""
    weights = [(5, bytes(1_000_000))] * 20
    data = message((1, 8), (7, message(*weights, (2, "late"))), OPSETS)

    assert described(data).facts["initialiser_count"] == 20
    assert described(data).facts["graph_name"] == "late"
    assert peak_of(data) < 100_000


def test_the_first_versions_imported_no_operator_sets() -> None:
    """A model without operator sets is cut off from IR version 3 on, and whole before."""
    assert described(message((1, 2), GRAPH)).problem is None
    assert "imports no operator set" in (described(message((1, 3), GRAPH), "x.onnx").problem or "")


def test_operator_sets_are_bounded() -> None:
    """The first MAX_OPSETS operator sets are kept."""
    kept = described(message((1, 8), GRAPH, *[OPSETS] * 1000)).facts["opset_imports"]
    assert kept == ", ".join(["ai.onnx 17"] * MAX_OPSETS)[:199] + "…"


START = message((1, 8), (2, "x"))
HOSTILE: dict[str, bytes] = {
    "would end after 18,446,744,073,709,551,": START + varint(7 << 3 | 2) + varint(2**64 - 1) + bytes(50),
    "and a field in it would end after": START + varint(3 << 3 | 2) + varint(60) + bytes(50),
    "ends after the message that contains it": START + message((7, varint(1 << 3 | 2) + b"\x05"), (3, "abcdefgh")),
    "a number in its header never ends": START + b"\xff" * 50,
    "the file ends inside its header": START + b"\xff" * 5,
    "no valid field before byte": START + b"\x3b" + bytes(50),
    "no valid field before": START + bytes(50),
    "field 7 of its model has the wire type 0": START + message((7, 5)),
    "the file ends before its graph": START,
}


@pytest.mark.parametrize("problem", HOSTILE)
def test_a_hostile_header_is_a_problem_and_takes_little_memory(problem: str) -> None:
    """A hostile header is a problem if the name ends in .onnx; else the file is `unknown`. It takes less than 1 MB."""
    assert problem in (described(HOSTILE[problem], "x.onnx").problem or "")
    assert described(HOSTILE[problem]) == Description("unknown")
    assert peak_of(HOSTILE[problem], "x.onnx") < 1_000_000


def test_work_is_bounded() -> None:
    """Reading a graph of too many nodes ends after MAX_STEPS with a problem."""
    data = message((1, 8), (7, b"\x0a\0" * (MAX_STEPS // FIELD_STEPS)))
    assert "lists more than this service reads" in (described(data, "x.onnx").problem or "")
