"""The sending of one webhook to a real receiver."""

import pytest

from app.fetching.http_client import HttpClient
from app.webhooks import sender
from app.webhooks.sender import Attempt, WebhookSender
from app.webhooks.targets import WebhookTargets
from tests.support.webhook_receiver import Reply, WebhookReceiver, new_secret

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("status", "error"), [(200, None), (500, "the receiver answered 500")])
async def test_a_body_that_comes_late_does_not_change_the_outcome(
    status: int, error: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of an attempt ends with the head: a body that is still awaited at that time makes no failure."""
    seconds = 5.0
    monkeypatch.setattr(sender, "MAX_ANSWER_SECONDS", seconds + 0.5)
    with WebhookReceiver() as receiver:
        receiver.replies["/late"].append(Reply(status, is_without_body=True))
        one = WebhookSender(HttpClient(60), WebhookTargets((receiver.url,)), [new_secret()], seconds=seconds)
        try:
            assert await one.send(f"{receiver.url}/late", {"id": "msg_a"}) == Attempt(error)
        finally:
            await one.aclose()
