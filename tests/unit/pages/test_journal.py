"""The journal: what it shows, in which order, page by page, along its indexes; and sending again."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.dialects import postgresql

from tests.unit.pages.house import Browser, House, message
from widget_backend import clock
from widget_backend.accounts.models import AuditEntry
from widget_backend.bridge import journal, repeat
from widget_backend.bridge.journal import Cursor, Wanted
from widget_backend.bridge.models import Delivery, EndRecord, Gate, Lane, Part, RepeatRecord
from widget_backend.bridge.tenancy import transaction


def write(house: House, count: int) -> list[UUID]:
    return [
        message(
            house.account_id,
            house.conversation_id,
            house.channel_id,
            house.connection_id,
            text=f"номер {number}",
            direction="in",
            status="delivered",
        )[0]
        for number in range(count)
    ]


def explain(house: House, wanted: Wanted) -> str:
    query = journal.page_query(house.account_id, wanted).compile(
        dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}
    )
    with transaction(house.account_id) as session:
        session.execute(text("set local enable_seqscan = off"))
        return "\n".join(
            row[0]
            for row in session.connection().exec_driver_sql(f"explain {query}".replace("%%", "%").replace("%", "%%"))
        )


@pytest.mark.parametrize("wanted", [{}, {"status": "delivered"}, {"client": "АНН"}, {"direction": "in"}])
def test_pages_follow_each_other_without_gap_or_repeat(house: House, wanted: dict[str, str]) -> None:
    expected = [*write(house, 7)[::-1], house.message_id]
    if not wanted or "client" in wanted:
        expected.insert(7, house.answer_id)
    seen: list[UUID] = []
    cursor = None
    for _ in range(10):
        page = journal.page(house.account_id, Wanted(cursor=cursor, limit=3, **wanted))  # type: ignore[arg-type]
        seen += [line.message.id for line in page.lines]
        if page.next is None:
            break
        cursor = Cursor.decode(page.next.encode())
    assert seen == expected


@pytest.mark.parametrize("bad", ["", "!!!", "YWJj", "MjAyNi0wMS0wMXxhYmM"])  # empty, not base64, no moment, no id
def test_a_broken_cursor_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Cursor.decode(bad)


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted(),
        Wanted(direction="in"),
        Wanted(status="failed"),
        Wanted(status="failed", direction="out", client="анн"),
        Wanted(client="анн"),
        Wanted(channel_id=UUID(int=1)),
        Wanted(channel_id=UUID(int=1), status="read"),
    ],
)
def test_no_journal_query_reads_a_whole_table(house: House, wanted: Wanted) -> None:
    """With sequential scans switched off, one that is still in the plan means that no index serves."""
    plan = explain(house, wanted)
    assert "Seq Scan" not in plan, plan
    if wanted.status:
        assert "deliveries_journal" in plan
    elif not wanted.client and not wanted.channel_id:
        assert "messages_journal" in plan


def test_a_deep_page_starts_inside_the_index(house: House) -> None:
    """The place in the journal is an index condition: row-level security must not turn it into a filter over all newer messages."""
    for status in ("", "failed"):
        wanted = Wanted(status=status, cursor=Cursor(clock.now(), str(house.message_id)))
        plan = explain(house, wanted)
        condition = next(line for line in plan.splitlines() if "Index Cond" in line)
        assert "ROW(" in condition or "created_at <" in condition, plan


def test_a_message_page_says_in_words_what_happened(browser: Browser, house: House) -> None:
    page = browser.get(f"/messages/{house.answer_id}").text
    assert "не отправлено" in page and "Клиент запретил писать ему" in page
    assert "Попытка 1: отклонено" in page and "Не мешает: это не групповой чат" in page and "Отправить ещё раз" in page
    asked = browser.get(f"/messages/{house.message_id}").text
    assert "выгружено" in asked and "Отправить ещё раз" not in asked


def test_a_text_from_a_client_is_shown_as_text(browser: Browser, house: House) -> None:
    id, _ = message(
        house.account_id,
        house.conversation_id,
        house.channel_id,
        house.connection_id,
        text="<img src=x onerror=alert(1)>",
        direction="in",
        status="delivered",
    )
    for path in ("/messages", f"/messages/{id}"):
        assert "<img" not in browser.get(path).text


def test_sending_again_queues_a_new_generation_at_the_end_of_the_lane(browser: Browser, house: House) -> None:
    path = f"/deliveries/{house.failed_id}/repeat"
    assert browser.post(path, key="click-0001").status_code == 303
    with transaction(house.account_id) as session:
        delivery = session.get_one(Delivery, house.failed_id)
        parts = session.scalars(select(Part).where(Part.delivery_id == delivery.id).order_by(Part.generation)).all()
        lane = session.get_one(Lane, (house.channel_id, house.conversation_id))
        audit = session.scalars(select(AuditEntry).where(AuditEntry.action == "delivery.repeat")).one()
    assert (delivery.status, delivery.trigger, delivery.reason, delivery.tries) == ("queued", "manual", "", 0)
    assert delivery.expires_at is not None and delivery.first_tried_at is None and delivery.settled_at is None
    assert (lane.last_seq, lane.settled_seq, delivery.lane_seq) == (2, 1, 2)
    assert [part.generation for part in parts] == [1, 2]
    assert parts[0].id != parts[1].id and parts[0].counter != parts[1].counter and parts[1].status == "queued"
    assert audit.actor.startswith("user:") and audit.details["was"] == "failed"


def test_the_same_click_twice_is_one_repeat(browser: Browser, house: House) -> None:
    path = f"/deliveries/{house.failed_id}/repeat"
    for _ in range(2):
        assert browser.post(path, key="click-0001").status_code == 303
    assert browser.post(path, key="click-0002").status_code == 409  # it is queued already
    with transaction(house.account_id) as session:
        assert session.get_one(Lane, (house.channel_id, house.conversation_id)).last_seq == 2
    with pytest.raises(repeat.CannotRepeat, match="key_reused"):
        repeat.repeat(house.account_id, house.delivered_id, key=_key(house), actor="x")


def test_what_arrived_and_what_is_off_is_not_sent_again(browser: Browser, house: House) -> None:
    assert browser.post(f"/deliveries/{house.delivered_id}/repeat", key="click-0001").status_code == 409
    with transaction(house.account_id) as session:
        session.get_one(EndRecord, house.channel_id).state = "off"
        session.get_one(Gate, house.channel_id).is_open = False
    answer = browser.post(f"/deliveries/{house.failed_id}/repeat", key="click-0002")
    assert answer.status_code == 409 and "Канал отключён" in answer.text


def _key(house: House) -> str:
    with transaction(house.account_id) as session:
        return session.scalars(select(RepeatRecord.key)).one()
