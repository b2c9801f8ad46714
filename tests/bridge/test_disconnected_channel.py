"""An answer to a channel that its admin disconnected does not vanish: it fails, and its writer is told."""

from __future__ import annotations

from tests.bridge.pair import Pair, new_user
from tests.stack import wait_for
from widget_backend.bridge import life


def test_an_answer_to_a_disconnected_channel_fails_and_the_operator_is_told(pair: Pair) -> None:
    """Disconnect VK, let the operator answer: nothing reaches the customer, a reason stands in the operator's chat."""
    user = new_user()
    pair.customer(user, text="is anybody there?")
    wait_for(lambda: [item for item in pair.desk("message") if item["text"] == "is anybody there?"])
    life.disconnect(pair.account_id, pair.channel_id)
    pair.operator(user, text="here I am")
    wait_for(lambda: [item for item in pair.desk() if "Канал отключён" in str(item.get("text", ""))], what="the reason")
    assert not [item for item in pair.phone(user, "message") if item["text"] == "here I am"]
