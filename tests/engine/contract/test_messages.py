"""The messages on the socket between the service and the engine process."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.contract.messages import Call, EngineFacts, ProtocolError, Reply

values = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))


@given(st.integers(), st.text(), st.dictionaries(st.text(), values, max_size=3))
def test_a_call_arrives_as_it_was_sent(call_id: int, name: str, params: dict[str, object]) -> None:
    """A call with any text is encoded on one line, and decoding it gives an equal call."""
    line = Call(call_id, name, params).encode()

    assert line.count(b"\n") == 1
    assert Call.decode(line) == Call(call_id, name, params)


@given(st.integers(), values, st.none() | st.text())
def test_an_answer_arrives_as_it_was_sent(call_id: int, result: object, error: str | None) -> None:
    """A reply with any text is encoded on one line, and decoding it gives an equal reply."""
    line = Reply(call_id, result, error).encode()

    assert line.count(b"\n") == 1
    assert Reply.decode(line) == Reply(call_id, result, error)


@given(st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"1", b'{"id":"x","result":1,"error":null}']))
def test_anything_else_breaks_the_protocol(line: bytes) -> None:
    """Bytes that are not a message raise ProtocolError, and no other exception."""
    with pytest.raises(ProtocolError):
        Reply.decode(line)
    with pytest.raises(ProtocolError):
        Call.decode(line)


@pytest.mark.parametrize("status", [None, {}, {"vendor_package": 1}, [], "ready"])
def test_a_status_without_its_fields_breaks_the_protocol(status: object) -> None:
    """A status answer that lacks fields raises ProtocolError."""
    with pytest.raises(ProtocolError):
        EngineFacts.from_status(datetime.now(UTC), status)
