"""A lane goes on behind a delivery that is gone, and an erased channel leaves nothing that waits."""

from __future__ import annotations

from sqlalchemy import create_engine, text

from tests.bridge.pair import Pair, new_user
from tests.stack import Stack, wait_for
from widget_backend.bridge import life, wake


def test_a_lane_with_a_hole_goes_on_behind_it(stack: Stack, pair: Pair) -> None:
    """Remove a waiting delivery as an erasure would; the next message still arrives."""
    user = new_user()
    pair.customer(user, text="before the hole")
    wait_for(lambda: [item for item in pair.desk("message") if item["text"] == "before the hole"])
    engine = create_engine(stack.config.database_owner_url)
    places = "end_id = :end and last_seq = settled_seq"
    with engine.begin() as connection:
        connection.execute(
            text(f"update lanes set last_seq = last_seq + 2 where {places}"), {"end": pair.connection_id}
        )
    pair.customer(user, text="behind the hole")
    wait_for(lambda: [item for item in pair.desk("message") if item["text"] == "behind the hole"])
    pair.wait_quiet()  # a message is seen a moment before its call is settled
    engine.dispose()


def test_an_erased_channel_leaves_nothing_that_waits(stack: Stack, pair: Pair) -> None:
    """Erase a channel while its messages wait for a portal that is away."""
    user = new_user()
    pair.customer(user, text="nobody waits for this")
    wait_for(lambda: [item for item in pair.desk("message") if item["text"] == "nobody waits for this"])
    life.set_state(pair.account_id, pair.connection_id, "error", "test")
    pair.customer(user, text="gone")
    engine = create_engine(stack.config.database_owner_url)
    due = text("select count(*) from lanes where end_id = :end and settled_seq < last_seq")
    with engine.connect() as connection:
        wait_for(lambda: (connection.rollback(), connection.scalar(due, {"end": pair.connection_id}))[1])
    life.erase(pair.account_id, pair.channel_id)
    life.set_state(pair.account_id, pair.connection_id, "active")
    wake.poke()
    with engine.connect() as connection:
        assert connection.scalar(due, {"end": pair.connection_id}) == 0
        left = text("select count(*) from inbox where owner_id = :end")
        assert connection.scalar(left, {"end": pair.channel_id}) == 0
    engine.dispose()
