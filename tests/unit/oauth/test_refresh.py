"""One refresh for all workers, nothing lost by a crash, nobody else's tokens (oauth/refresh.py)."""

from __future__ import annotations

import os
import signal
import time
from uuid import uuid4

import pytest
from sqlalchemy import func, select, text, update

from oauth import store
from oauth.grants import Grant
from oauth.models import Token
from oauth.refresh import LEASE, StoredTokens
from tests.unit.oauth.conftest import OAuthServer, TokenedEnd
from widget_backend import clock, outside
from widget_backend.bridge import runtime
from widget_backend.bridge.errors import AccessLost, Retry
from widget_backend.bridge.tenancy import transaction
from widget_backend.config import Config
from widget_backend.crypto import Secret


def _tokens(end: TokenedEnd) -> StoredTokens:
    return StoredTokens(end.account_id, end.end_id)


def test_renewing_a_token_that_is_not_the_current_one_asks_nobody(end: TokenedEnd, oauth_server: OAuthServer) -> None:
    assert _tokens(end).renew("access-0") == "access-1"
    assert oauth_server.count == 0


def test_new_pair_is_committed_before_it_is_used(end: TokenedEnd, oauth_server: OAuthServer) -> None:
    access = _tokens(end).renew("access-1")

    with transaction(end.account_id) as session:
        row = session.scalars(select(Token)).one()
        assert (row.access.reveal(), row.refresh.reveal(), row.generation) == (access, "refresh-2", 2)
        assert (row.lease_token, row.lease_until) == (None, None)


def test_worker_killed_before_it_asks_leaves_a_lease_that_runs_out(end: TokenedEnd, oauth_server: OAuthServer) -> None:
    pid = os.fork()
    if pid == 0:  # the child claims the lease and is killed before it asks
        runtime.get().engine.dispose(close=False)
        _tokens(end)._claim("access-1")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)

    with transaction(end.account_id) as session:
        left_s = session.scalar(select(func.extract("epoch", Token.lease_until - func.clock_timestamp())))
        assert left_s is not None and 0 < left_s <= LEASE.total_seconds()
        session.execute(update(Token).values(lease_until=func.clock_timestamp() + text("interval '500 ms'")))

    started = time.monotonic()
    assert _tokens(end).renew("access-1") == "access-2"
    assert time.monotonic() - started > 0.3
    assert oauth_server.count == 1


def test_revoked_grant_is_lost_once_for_everybody(end: TokenedEnd, oauth_server: OAuthServer) -> None:
    oauth_server.error = "invalid_grant"
    for _ in range(3):
        with pytest.raises(AccessLost) as raised:
            _tokens(end).renew("access-1")
        assert raised.value.reason == "token_revoked"
    with pytest.raises(AccessLost):
        _tokens(end).current()

    assert len(oauth_server.seen) == 1


def test_new_grant_ends_a_loss(end: TokenedEnd, oauth_server: OAuthServer) -> None:
    oauth_server.error = "invalid_grant"
    with pytest.raises(AccessLost):
        _tokens(end).renew("access-1")
    grant = Grant(access=Secret("a9"), refresh=Secret("r9"), expires_at=clock.now(), endpoint=oauth_server.url)
    store.save(end.account_id, end.end_id, provider="bitrix24", app_id=end.app_id, grant=grant)

    assert _tokens(end).current() == "a9"


def test_worker_whose_lease_ran_out_takes_the_pair_that_another_fetched(
    end: TokenedEnd, oauth_server: OAuthServer
) -> None:
    slow = _tokens(end)._claim("access-1")
    assert slow is not None and not isinstance(slow, str)
    with transaction(end.account_id) as session:
        session.execute(update(Token).values(lease_until=func.clock_timestamp()))
    assert _tokens(end).renew("access-1") == "access-2"

    assert _tokens(end)._refresh(slow) == "access-2"
    assert _tokens(end).current() == "access-2"


def test_unreachable_server_is_retried_and_keeps_no_lease(end: TokenedEnd, oauth_server: OAuthServer) -> None:
    oauth_server.error = "something new"
    with pytest.raises(Retry):
        _tokens(end).renew("access-1")
    oauth_server.error = ""

    assert _tokens(end).renew("access-1") == "access-2"


def test_secret_goes_to_no_host_but_the_allowed_ones(end: TokenedEnd, oauth_server: OAuthServer) -> None:
    with transaction(end.account_id) as session:
        session.execute(update(Token).values(endpoint="https://oauth.bitrix.info.example.net"))
    with pytest.raises(AccessLost) as raised:
        _tokens(end).renew("access-1")

    assert (raised.value.reason, oauth_server.seen) == ("bitrix24_oauth_host", [])


def test_another_account_sees_no_tokens(end: TokenedEnd) -> None:
    with pytest.raises(AccessLost):
        StoredTokens(uuid4(), end.end_id).current()


def test_tokens_are_sealed_at_rest(end: TokenedEnd, world: Config) -> None:
    with transaction(end.account_id) as session:
        row = session.execute(text("select access_sealed, refresh_sealed from oauth_tokens")).one()

    assert b"access-1" not in bytes(row[0]) and b"refresh-1" not in bytes(row[1])


def test_outside_log_holds_no_secret(
    end: TokenedEnd, oauth_server: OAuthServer, capsys: pytest.CaptureFixture[str]
) -> None:
    _tokens(end).renew("access-1")

    said = "".join(capsys.readouterr())
    assert outside.session("bitrix24_oauth") and "the secret" not in said and "refresh-1" not in said
