"""What the exchange is measured against: one RQ job per message on ordinary, forking RQ workers, doing the same steps one after another."""

from __future__ import annotations

from uuid import UUID

from flask import Flask

from widget_backend import create_app
from widget_backend.bridge import deliver, inbox, lanes, runtime

_app: Flask | None = None


def carry(end_id: str, account_id: str) -> None:
    """Carry one message over the whole road: read one hook of this end's inbox, deliver whatever became due."""
    global _app
    if _app is None:
        _app = create_app(pool_size=2)
    with _app.app_context():
        runtime.get().engine.dispose(close=False)  # a forked child must not speak on its parent's connections
        lease = inbox.take(UUID(end_id), UUID(account_id))
        if lease is not None:
            inbox.work(lease, limit=1)
            inbox.release(lease)
        for batch in lanes.take(1):
            deliver.deliver(batch, may_go_on=lambda: True)
