"""A pause that an end asks for, and an outage, are nobody's fault: however often a message meets them, it does not fail by them."""

from __future__ import annotations

import time
from uuid import UUID

from tests.bridge.pair import Pair, new_user
from tests.stack import wait_for

RETRIES = 6
"""More than a message in trouble of its own gets (`conftest.PATIENCE`)."""


def _attempts(pair: Pair, said: str) -> list[str]:
    """Return what became of the tries of a message; the one under way is not told."""
    rows = pair.rows(
        "select a.outcome from attempts a join deliveries d on d.id = a.delivery_id join messages m on m.id = d.message_id"
        " where m.text = :said and d.act = 'new' and a.outcome <> 'open' order by a.id",
        said=said,
    )
    return [row.outcome for row in rows]


def _seem_well(pair: Pair, end_id: UUID, ago: str) -> None:
    """Let an end have worked for somebody else after the message was first tried."""
    pair.change(f"update gates set ok_at = now() - interval '{ago}', failures = 0 where end_id = :end", end=end_id)
    pair.change("update deliveries set first_tried_at = now() - interval '1 hour' where first_tried_at is not null")


def test_a_message_is_not_blamed_for_the_limit_of_an_end_that_works_for_others(pair: Pair) -> None:
    """Answer "too many requests" again and again: the message waits, and arrives once the portal takes it."""
    user = new_user()
    pair.customer(user, text="hello")
    pair.wait_seen(user, "hello")
    pair.faults("bitrix24", rate_limit=True)
    pair.customer(user, text="limited")

    def tried_often() -> bool:
        _seem_well(pair, pair.connection_id, "0 seconds")
        return len(_attempts(pair, "limited")) > RETRIES

    wait_for(tried_often, within_s=40, every_s=0.3, what=f"{RETRIES} tries")
    assert set(_attempts(pair, "limited")) == {"retry"}
    assert pair.status("limited", pair.connection_id) == "queued"
    pair.faults("bitrix24", rate_limit=False)
    pair.wait_seen(user, "hello", "limited")


def test_a_message_is_not_blamed_for_an_outage_that_began_after_its_first_try(pair: Pair) -> None:
    """Try once, let the end work for others, then take it away: its outage is no trouble of this message."""
    user = new_user()
    pair.customer(user, text="hello")
    pair.operator(user, text="welcome")
    pair.wait_got(user, "welcome")
    pair.faults("vk", outage=True, outage_mode="reset")
    pair.operator(user, text="answer")

    def tried_often() -> bool:
        _seem_well(pair, pair.channel_id, "15 seconds")
        return len(_attempts(pair, "answer")) > RETRIES

    wait_for(tried_often, within_s=60, every_s=0.3, what=f"{RETRIES} tries")
    assert pair.status("answer", pair.channel_id) == "queued"
    pair.faults("vk", outage=False)
    begun = time.monotonic()
    pair.wait_got(user, "welcome", "answer")
    assert time.monotonic() - begun < 10
