"""What ONNX files say of themselves."""

import pytest

from app.store.headers.bounded import MAX_STEPS
from app.store.headers.description import Description
from app.store.headers.onnx import FIELD_STEPS, MAX_OPSETS
from tests.support.model_files import described, message, peak_of, tiny_onnx, varint

OPSETS = (8, message((2, 17)))
GRAPH = (7, message((2, "main")))


def test_a_whole_file() -> None:
    """Every fact."""
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


def test_what_is_not_known_is_skipped() -> None:
    """Fields of every wire type, in the model and in its graph; negative numbers; sparse initialisers."""
    unknown = varint(90 << 3 | 1) + bytes(8) + varint(91 << 3 | 5) + bytes(4) + message((92, 1), (93, "x"))
    graph = unknown + message((2, "g"), (15, "sparse"), (1, b""), (1, 5)) + unknown
    description = described(message((1, 9), (2, "x")) + unknown + message((5, -1), (7, graph), OPSETS))

    assert description.problem is None
    assert description.facts["model_version"] == -1
    assert (description.facts["node_count"], description.facts["initialiser_count"]) == (1, 1)


def test_tensors_are_not_read() -> None:
    """Their length alone counts, however long they are."""
    weights = [(5, bytes(1_000_000))] * 20
    data = message((1, 8), (7, message(*weights, (2, "late"))), OPSETS)

    assert described(data).facts["initialiser_count"] == 20
    assert described(data).facts["graph_name"] == "late"
    assert peak_of(data) < 100_000


def test_the_first_versions_imported_no_operator_sets() -> None:
    """From the third on a model without them is cut off."""
    assert described(message((1, 2), GRAPH)).problem is None
    assert "imports no operator set" in (described(message((1, 3), GRAPH), "x.onnx").problem or "")


def test_operator_sets_are_bounded() -> None:
    """The first are kept."""
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
def test_a_hostile_header_ends_at_once_with_its_problem(problem: str) -> None:
    """If its name ends in .onnx; otherwise it is just no ONNX. It takes next to no memory."""
    assert problem in (described(HOSTILE[problem], "x.onnx").problem or "")
    assert described(HOSTILE[problem]) == Description("unknown")
    assert peak_of(HOSTILE[problem], "x.onnx") < 1_000_000


def test_work_is_bounded() -> None:
    """A graph of as many nodes as it says ends when it has had its share."""
    data = message((1, 8), (7, b"\x0a\0" * (MAX_STEPS // FIELD_STEPS)))
    assert "lists more than this service reads" in (described(data, "x.onnx").problem or "")
