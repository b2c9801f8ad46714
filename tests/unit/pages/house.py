"""Accounts with a channel, a connection, messages and deliveries, made straight in the tables; and a browser to look at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from flask.testing import FlaskClient

from widget_backend import clock, ids
from widget_backend.accounts import keys
from widget_backend.accounts.signup import create_account
from widget_backend.bridge import life
from widget_backend.bridge.keep import first_of_month
from widget_backend.bridge.models import (
    Attempt,
    ClientRecord,
    ConversationRecord,
    Delivery,
    EndRecord,
    Gate,
    Lane,
    Message,
    Part,
    Route,
    Trace,
)
from widget_backend.bridge.tenancy import transaction

PASSWORD = "correct horse battery"


@dataclass(frozen=True, slots=True)
class House:
    """One account with one of everything."""

    account_id: UUID
    email: str
    channel_id: UUID
    connection_id: UUID
    client_id: UUID
    conversation_id: UUID
    message_id: UUID
    delivered_id: UUID
    answer_id: UUID
    failed_id: UUID
    key: str


def furnish(name: str) -> House:
    """Make an account: a client's message that reached the CRM, and an answer that the network refused."""
    email = f"{name}@acme.test"
    account_id = create_account(name, email=email, password=PASSWORD).id
    channel_id = life.create(account_id, "vk", title=f"VK {name}", settings={}, secrets={"token": "t" * 30})
    connection_id = life.create(account_id, "bitrix24", title=f"Portal {name}", settings={"line": "7"}, remote_id=name)
    client_id, conversation_id = ids.new_id(), ids.new_id()
    with transaction(account_id) as session:
        for end_id in (channel_id, connection_id):
            session.get_one(EndRecord, end_id).state = "active"
            session.get_one(EndRecord, end_id).connected_at = clock.now()
            session.get_one(Gate, end_id).is_open = True
        session.add(Route(account_id=account_id, channel_id=channel_id, connection_id=connection_id, settings={}))
        session.add(
            ClientRecord(
                id=client_id, account_id=account_id, channel_id=channel_id, remote_id="1", name="Анна", profile={}
            )
        )
        session.flush()
        session.add(
            ConversationRecord(id=conversation_id, account_id=account_id, channel_id=channel_id, client_id=client_id)
        )
    asked, delivered = message(
        account_id,
        conversation_id,
        channel_id,
        connection_id,
        text=f"Вопрос {name}",
        direction="in",
        status="delivered",
    )
    answer, failed = message(
        account_id,
        conversation_id,
        connection_id,
        channel_id,
        text=f"Ответ {name}",
        direction="out",
        status="failed",
        reason="client_forbade",
    )
    key = keys.issue(account_id, title="program", role="admin", actor="server")
    return House(
        account_id, email, channel_id, connection_id, client_id, conversation_id, asked, delivered, answer, failed, key
    )


def message(
    account_id: UUID,
    conversation_id: UUID,
    origin_id: UUID,
    end_id: UUID,
    *,
    text: str,
    direction: str,
    status: str,
    reason: str = "",
) -> tuple[UUID, UUID]:
    """Make a message with one settled delivery of one part and one attempt; return their ids."""
    message_id, delivery_id, part_id = ids.new_id(), ids.new_id(), ids.new_id()
    now = clock.now()
    with transaction(account_id) as session:
        conversation = session.get_one(ConversationRecord, conversation_id)
        conversation.last_seq += 1
        session.add(
            Message(
                id=message_id,
                account_id=account_id,
                conversation_id=conversation_id,
                origin_end_id=origin_id,
                seq=conversation.last_seq,
                direction=direction,
                text=text,
                content={},
                sent_at=now,
            )
        )
        session.flush()
        lane = session.get(Lane, (end_id, conversation_id))
        if lane is None:
            lane = Lane(end_id=end_id, conversation_id=conversation_id, account_id=account_id, last_seq=0)
            session.add(lane)
        lane.last_seq += 1
        lane.settled_seq = lane.last_seq
        session.add(
            Delivery(
                id=delivery_id,
                account_id=account_id,
                end_id=end_id,
                conversation_id=conversation_id,
                message_id=message_id,
                lane_seq=lane.last_seq,
                act="new",
                dedupe="new",
                status=status,
                reason=reason,
                payload={},
                expires_at=now - timedelta(minutes=1),
                first_tried_at=now,
                settled_at=now,
                tries=3,
            )
        )
        session.flush()
        session.add(
            Part(
                id=part_id,
                account_id=account_id,
                delivery_id=delivery_id,
                end_id=end_id,
                number=1,
                status="queued" if reason else "accepted",
                remote_ids=[] if reason else ["77"],
                content={"act": "new", "text": text, "of": 1},
                attempts=1,
            )
        )
        session.flush()
        common = {"month": first_of_month(now), "account_id": account_id}
        session.add(
            Attempt(
                **common,
                delivery_id=delivery_id,
                part_id=part_id,
                number=1,
                outcome="rejected" if reason else "accepted",
                reason=reason,
                duration_ms=12,
            )
        )
        session.add(
            Trace(**common, message_id=message_id, end_id=end_id, rule="groups", verdict="pass", why="not_group")
        )
    return message_id, delivery_id


def token(page: str) -> str:
    """Read the form token of a page."""
    return page.split('name="csrf" value="', 1)[1].split('"', 1)[0]


class Browser:
    """A person at a browser: follows forms with their token."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def sign_in(self, email: str, password: str = PASSWORD, *, wanted: str = "/") -> Any:
        page = self.client.get("/sign-in").text
        form = {"csrf": token(page), "email": email, "password": password, "next": wanted}
        return self.client.post("/sign-in", data=form)

    def get(self, path: str) -> Any:
        return self.client.get(path)

    def post(self, path: str, **form: object) -> Any:
        with self.client.session_transaction() as session:
            csrf = session.get("csrf", "")
        return self.client.post(path, data={"csrf": csrf, **form})
