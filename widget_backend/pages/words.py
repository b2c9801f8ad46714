"""What the bridge knows as slugs, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from widget_backend import language, texts
from widget_backend.bridge import registry
from widget_backend.bridge.ends import Side
from widget_backend.bridge.models import Delivery, EndRecord, Trace
from widget_backend.bridge.setup import MASK as MASK  # what forms show in the place of a stored secret

TONES: Mapping[str, str] = {
    "queued": "wait", "delivered": "good", "sent": "good", "received": "good", "read": "good", "filtered": "quiet",
    "discarded": "quiet", "dropped": "quiet", "failed": "bad", "expired": "bad", "uncertain": "warn",
}  # fmt: skip


def status(delivery: Delivery, end: EndRecord | None) -> str:
    """Name the status of a delivery as its side calls it (design: words)."""
    return status_of(delivery.status, end.side if end else Side.NETWORK.value)


def status_of(slug: str, side: str) -> str:
    """Name a status."""
    key = f"pages.status.{slug}_{side}"
    return texts.text(key if texts.has(key) else f"pages.status.{slug}", language.current())


def tone(slug: str) -> str:
    """Say how a status is shown: good, wait, warn, bad or quiet."""
    return TONES.get(slug, "quiet")


def reason(slug: str, adapter: str = "") -> str:
    """Return the sentence for a reason; empty for none."""
    return texts.reason(slug, adapter, language.current()) if slug else ""


def end_reason(end: EndRecord) -> str:
    """Say why an end does not work and what to do."""
    return reason(end.reason, end.adapter)


def title(end: EndRecord) -> str:
    """Name an end."""
    return end.title or end.remote_id or adapter(end.adapter)


def adapter(key: str) -> str:
    """Name a network or CRM."""
    return registry.manifest(key).title


def decision(trace: Trace, ends: Mapping[UUID, EndRecord]) -> str:
    """Say what a rule decided about a message, and why."""
    end = ends.get(trace.end_id) if trace.end_id else None
    key = f"pages.trace.{trace.why}"
    why = texts.text(key, language.current()) if texts.has(key) else reason(trace.why, end.adapter if end else "")
    verdict = "pass" if trace.verdict == "pass" else "stop"
    return texts.text(f"pages.trace.{verdict}", language.current(), why=why)


def rule(slug: str) -> str:
    """Name a rule."""
    key = f"pages.trace.rule_{slug}"
    return texts.text(key, language.current()) if texts.has(key) else slug


def action(slug: str) -> str:
    """Name what somebody did, for the audit trail."""
    key = f"pages.audit.{slug}"
    return texts.text(key, language.current()) if texts.has(key) else slug


def actor(slug: str) -> str:
    """Name who did something, if not by a name: `server`, `demo`, a CRM, `<CRM>:<user there>`, a `user:` or `key:` that is gone."""
    kind, _, number = slug.partition(":")
    known = next((manifest for manifest in registry.manifests() if manifest.key == kind), None)
    if known:
        return (
            texts.text("pages.audit.by_crm", language.current(), name=known.title, number=number)
            if number
            else known.title
        )
    key = f"pages.audit.by_{kind}"
    return texts.text(key, language.current()) if texts.has(key) else slug


def setting(slug: str, fallback: str = "") -> str:
    """Return a label or help of an adapter's setting."""
    return texts.text(slug, language.current()) if slug and texts.has(slug) else fallback


def outcome(slug: str) -> str:
    """Name what became of an attempt."""
    key = f"pages.message.outcome_{slug}"
    return texts.text(key, language.current()) if texts.has(key) else slug


def attachment(kind: str) -> str:
    """Name a kind of attachment."""
    key = f"represent.{kind}"
    return texts.text(key, language.current()) if texts.has(key) else kind
