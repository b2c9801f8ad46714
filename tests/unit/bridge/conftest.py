"""Rows for tests of the bridge's queries: an account with ends, conversations and lanes, without any process around them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import text

from widget_backend import clock, configure_bridge, crypto, ids
from widget_backend.accounts.models import Account
from widget_backend.bridge import life, runtime
from widget_backend.bridge.tenancy import transaction
from widget_backend.config import Config
from widget_backend.extensions import db as database


@pytest.fixture
def account_id(app: Flask, config: Config, db: Any) -> Iterator[UUID]:
    """Give an account of its own in an empty database."""
    before = runtime._runtime
    crypto.configure(crypto.KeyRing.of(config.keys))
    configure_bridge(config, database.engine)
    account = Account(name="acme")
    database.session.add(account)
    database.session.commit()
    yield account.id
    database.session.rollback()
    runtime._runtime = before


@pytest.fixture
def channel_id(account_id: UUID) -> UUID:
    """Give a channel that works."""
    return make_channel(account_id)


def make_channel(account_id: UUID) -> UUID:
    """Make a VK channel whose gate is open."""
    end_id = life.create(account_id, "vk", secrets={"token": "a token"})
    life.set_state(account_id, end_id, "active")
    return end_id


def make_conversation(account_id: UUID, channel_id: UUID) -> UUID:
    """Make a conversation with a client of its own."""
    client_id, conversation_id = ids.new_id(), ids.new_id()
    with transaction(account_id) as session:
        session.execute(
            text(
                "insert into clients (id, account_id, channel_id, remote_id, name, profile)"
                " values (:id, :account, :channel, :remote, 'Анна', '{}')"
            ),
            {"id": client_id, "account": account_id, "channel": channel_id, "remote": client_id.hex},
        )
        session.execute(
            text(
                "insert into conversations (id, account_id, channel_id, client_id, thread, scope, place, title, last_seq)"
                " values (:id, :account, :channel, :client, '', '', 'direct', '', 0)"
            ),
            {"id": conversation_id, "account": account_id, "channel": channel_id, "client": client_id},
        )
    return conversation_id


def make_lane(account_id: UUID, end_id: UUID, conversation_id: UUID, *, waiting: int = 1, priority: int = 1) -> None:
    """Make a lane with so many deliveries waiting (the lane alone: it tells what is due)."""
    with transaction(None) as session:
        session.execute(
            text(
                "insert into lanes (end_id, conversation_id, account_id, last_seq, settled_seq, priority, due_since)"
                " values (:end, :conversation, :account, :last, 0, :priority, :now)"
            ),
            {
                "end": end_id,
                "conversation": conversation_id,
                "account": account_id,
                "last": waiting,
                "priority": priority,
                "now": clock.now(),
            },
        )
