"""Is it alive, is it ready, how is it doing: /healthz, /readyz, /metrics."""

from __future__ import annotations

import hmac

from flask import Blueprint, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest, multiprocess
from prometheus_client import REGISTRY as PROCESS_REGISTRY
from redis import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from widget_backend.bridge import keep, runtime, split
from widget_backend.bridge.tenancy import transaction
from widget_backend.doctor import PART_NUMBERS_LEFT

blueprint = Blueprint("health", __name__)

_LANES = text("""
    select coalesce(extract(epoch from now() - min(l.due_since)), 0) as oldest_s,
           coalesce(sum(l.last_seq - l.settled_seq), 0) as waiting
    from gates g cross join lateral (
        select due_since, last_seq, settled_seq from lanes where end_id = g.end_id and settled_seq < last_seq
    ) l where g.is_open
""")


@blueprint.get("/healthz")
def healthz() -> dict[str, str]:
    """Say that this process answers; readiness is another question."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> tuple[dict[str, object], int]:
    """Say whether hooks can be kept (the database) and workers woken (Valkey). Without Valkey we are still ready: the sweep wakes."""
    checks = {"database": _database(), "valkey": _valkey()}
    is_ready = checks["database"] == "ok"
    return {"status": "ready" if is_ready else "not_ready", "checks": checks}, 200 if is_ready else 503


@blueprint.get("/metrics")
def metrics() -> Response:
    """Give Prometheus what it asks for: counters of the processes, and what the database knows. For this machine, or for who has the token."""
    if not _may_see():
        return Response("forbidden", 403, content_type="text/plain")
    registry = CollectorRegistry()
    if runtime.get().config.metrics_dir:
        multiprocess.MultiProcessCollector(registry, path=str(runtime.get().config.metrics_dir))  # type: ignore[no-untyped-call]
        counted = generate_latest(registry)
    else:
        counted = generate_latest(PROCESS_REGISTRY)
    return Response(counted + generate_latest(_from_database()), content_type=CONTENT_TYPE_LATEST)


def _from_database() -> CollectorRegistry:
    registry = CollectorRegistry()
    oldest_hook = Gauge("mostik_inbox_age_seconds", "Age of the oldest unread hook", registry=registry)
    oldest_hook.set(keep.oldest_waiting_s())
    strangers = Gauge("mostik_app_parts_waiting", "Parts of apps' hooks that wait for their end", registry=registry)
    strangers.set(split.strangers())
    with transaction(None) as session:
        row = session.execute(_LANES).one()
        statuses = session.execute(text("select status, deliveries from mostik_delivery_counts()")).all()
        numbers_left = session.scalar(text(PART_NUMBERS_LEFT)) or 0
    Gauge("mostik_part_numbers_left", "Numbers left for parts of deliveries", registry=registry).set(numbers_left)
    Gauge("mostik_lane_age_seconds", "Age of the oldest due lane of an open end", registry=registry).set(row.oldest_s)
    Gauge("mostik_lane_waiting", "Deliveries waiting in lanes of open ends", registry=registry).set(row.waiting)
    by_status = Gauge("mostik_deliveries", "Deliveries of the last day by status", ["status"], registry=registry)
    for status, count in statuses:
        by_status.labels(status).set(count)
    return registry


def _may_see() -> bool:
    token = runtime.get().config.metrics_token
    if not token:
        # a reverse proxy on this machine speaks for everybody
        is_forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
        return request.remote_addr in ("127.0.0.1", "::1") and not is_forwarded
    given = request.headers.get("Authorization", "")
    return hmac.compare_digest(given.encode(), f"Bearer {token}".encode())


def _database() -> str:
    try:
        with transaction(None) as session:
            session.execute(text("select 1"))
    except DBAPIError:
        return "away"
    return "ok"


def _valkey() -> str:
    try:
        runtime.get().redis.ping()
    except RedisError:
        return "away"
    return "ok"
