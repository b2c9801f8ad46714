"""Channels, connections, and what feeds what."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from widget_backend.accounts import access
from widget_backend.api import schemas
from widget_backend.api.frame import end_of, explained, requires, room
from widget_backend.bridge import registry, setup
from widget_backend.bridge.ends import Side
from widget_backend.problems import Conflict, Invalid, NotFound

blueprint = room("ends", "Channels, connections and routes")


@blueprint.route("/channels", methods=["GET"])
@requires(access.may_look)
@blueprint.response(200, schemas.EndListSchema)
def channels() -> dict[str, Any]:
    """List the channels."""
    return _list(Side.NETWORK)


@blueprint.route("/connections", methods=["GET"])
@requires(access.may_look)
@blueprint.response(200, schemas.EndListSchema)
def connections() -> dict[str, Any]:
    """List the connections."""
    return _list(Side.CRM)


@blueprint.route("/channels", methods=["POST"])
@requires(access.may_configure)
@blueprint.arguments(schemas.NewChannelSchema)
@blueprint.response(201, schemas.EndSchema)
def create_channel(given: dict[str, Any]) -> dict[str, Any]:
    """Make a channel; it is not connected yet."""
    who = access.who()
    adapter = given["adapter"]
    if adapter not in {manifest.key for manifest in registry.manifests(Side.NETWORK)}:
        raise Invalid(fields={"adapter": ["unknown"]})
    if registry.manifest(adapter).needs_app:
        raise Conflict("needs_app")
    with explained(adapter):
        end_id = setup.create(who.account_id, adapter, title=given["title"], given=given["settings"], actor=who.actor)
    return schemas.end_values(setup.find(who.account_id, end_id))


@blueprint.route("/channels/<uuid:channel_id>", methods=["GET"])
@requires(access.may_look)
@blueprint.response(200, schemas.EndSchema)
def channel(channel_id: UUID) -> dict[str, Any]:
    """Show one channel."""
    return schemas.end_values(end_of(Side.NETWORK, channel_id))


@blueprint.route("/channels/<uuid:channel_id>/connect", methods=["POST"])
@requires(access.may_configure)
@blueprint.response(200, schemas.ConnectedSchema)
def connect_channel(channel_id: UUID) -> dict[str, Any]:
    """Connect a channel, or connect it again. Takes several seconds; 502 says why it did not work."""
    who, row = access.who(), end_of(Side.NETWORK, channel_id)
    with explained(row.adapter):
        warnings = setup.connect(who.account_id, channel_id, actor=who.actor)
    return {"channel": schemas.end_values(end_of(Side.NETWORK, channel_id)), "warnings": warnings}


@blueprint.route("/channels/<uuid:channel_id>/check", methods=["POST"])
@requires(access.may_configure)
@blueprint.response(200, schemas.EndSchema)
def check_channel(channel_id: UUID) -> dict[str, Any]:
    """Ask the network whether a channel works; 502 says why it does not."""
    row = end_of(Side.NETWORK, channel_id)
    with explained(row.adapter):
        setup.check(row.account_id, channel_id)
    return schemas.end_values(end_of(Side.NETWORK, channel_id))


@blueprint.route("/channels/<uuid:channel_id>/disconnect", methods=["POST"])
@requires(access.may_configure)
@blueprint.response(200, schemas.EndSchema)
def disconnect_channel(channel_id: UUID) -> dict[str, Any]:
    """Disconnect a channel. Its messages stay in the journal."""
    who, row = access.who(), end_of(Side.NETWORK, channel_id)
    with explained(row.adapter):
        setup.disconnect(who.account_id, channel_id, actor=who.actor)
    return schemas.end_values(end_of(Side.NETWORK, channel_id))


@blueprint.route("/routes", methods=["GET"])
@requires(access.may_look)
@blueprint.response(200, schemas.RouteListSchema)
def routes() -> dict[str, Any]:
    """List what feeds what."""
    pairs = sorted(setup.pairs(access.who().account_id))
    return {"items": [{"channel_id": channel, "connection_id": connection} for channel, connection in pairs]}


@blueprint.route("/routes/<uuid:channel_id>/<uuid:connection_id>", methods=["PUT"])
@requires(access.may_configure)
@blueprint.response(200, schemas.RouteSchema)
def join(channel_id: UUID, connection_id: UUID) -> dict[str, Any]:
    """Let a channel feed a connection. Safe to repeat."""
    setup.join(_pair(channel_id, connection_id), channel_id, connection_id, actor=access.who().actor)
    return {"channel_id": channel_id, "connection_id": connection_id}


@blueprint.route("/routes/<uuid:channel_id>/<uuid:connection_id>", methods=["DELETE"])
@requires(access.may_configure)
@blueprint.response(204)
def part(channel_id: UUID, connection_id: UUID) -> None:
    """Let a channel no longer feed a connection. Safe to repeat."""
    setup.part(_pair(channel_id, connection_id), channel_id, connection_id, actor=access.who().actor)


def _list(side: Side) -> dict[str, Any]:
    rows = setup.listed(access.who().account_id)
    return {"items": [schemas.end_values(row) for row in rows if row.side == side]}


def _pair(channel_id: UUID, connection_id: UUID) -> UUID:
    known = {row.id: row.side for row in setup.listed(access.who().account_id)}
    if channel_id not in known or connection_id not in known:
        raise NotFound()
    if (known[channel_id], known[connection_id]) != (Side.NETWORK, Side.CRM):
        raise Invalid("wrong_pair")
    return access.who().account_id
