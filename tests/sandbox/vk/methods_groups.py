"""groups.*: the community itself, its rights, Callback API servers and Long Poll (vk.md 1.1, 1.4, 3.6)."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from tests.sandbox.vk import represent
from tests.sandbox.vk.api import Call, method
from tests.sandbox.vk.rules import VkError
from tests.sandbox.vk.state import RIGHTS, Community, Json, LongPoll, Server

SERVERS = 10
KEY_LIVES_S = 3600.0
EVENT_NAMES = """
message_new message_reply message_allow message_edit message_deny message_typing_state message_read message_event
message_reaction_event photo_new audio_new video_new wall_reply_new wall_reply_edit wall_reply_delete
wall_reply_restore wall_post_new wall_repost wall_schedule_post_new wall_schedule_post_delete board_post_new
board_post_edit board_post_restore board_post_delete photo_comment_new photo_comment_edit photo_comment_delete
photo_comment_restore video_comment_new video_comment_edit video_comment_delete video_comment_restore
market_comment_new market_comment_edit market_comment_delete market_comment_restore market_order_new
market_order_edit poll_vote_new group_join group_leave group_change_settings group_change_photo group_officers_edit
user_block user_unblock lead_forms_new like_add like_remove donut_subscription_create donut_subscription_prolonged
donut_subscription_cancelled donut_subscription_price_changed donut_subscription_expired donut_money_withdraw
donut_money_withdraw_error
"""
EVENTS = tuple(EVENT_NAMES.split())


@method("groups.getById", tokens=("user", "group", "service"))
def get_by_id(call: Call) -> Json:
    """Return the token's own community, or those named."""
    names = call.text("group_ids") or call.text("group_id")
    if not names:
        if call.token.kind != "group":
            raise VkError(100, "group_ids is undefined")
        return {"groups": [represent.group(call.community)], "profiles": []}
    found = [find_group(call, name) for name in names.split(",")]
    return {"groups": [represent.group(one) for one in found if one], "profiles": []}


def find_group(call: Call, name: str) -> Community | None:
    """Find by id or short name."""
    wanted = name.strip().lstrip("-")
    groups = call.peer.world.communities.values()
    return next((one for one in groups if wanted in (str(one.id), one.screen_name, f"club{one.id}")), None)


@method("groups.get", tokens=("user",))
def get(call: Call) -> Json:
    """List the communities of the user; filter=admin those that he manages."""
    groups = [one for one in call.peer.world.communities.values() if call.token.user_id in one.admins]
    items = [represent.group(one) for one in groups] if call.flag("extended") else [one.id for one in groups]
    return {"count": len(groups), "items": items}


@method("groups.getTokenPermissions", tokens=("group",))
def permissions(call: Call) -> Json:
    """List the rights of the token."""
    mask = call.token.mask
    return {"mask": mask, "permissions": [{"name": name, "setting": bit} for name, bit in RIGHTS.items() if mask & bit]}


@method("groups.isMember", tokens=("user", "group", "service"))
def is_member(call: Call) -> int:
    """Tell whether the user has ever written; the twin has no other membership."""
    call.text("group_id", required=True)
    return int(call.integer("user_id") in call.community.dialogs)


@method("groups.getCallbackConfirmationCode", "manage")
def confirmation_code(call: Call) -> Json:
    """Return the code that the server must answer."""
    return {"code": call.own_group().confirmation_code}


def _read_server(call: Call) -> tuple[str, str, str]:
    url = call.text("url", required=True)
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).netloc:
        raise VkError(100, "url is invalid")
    return url, call.text("title", required=True, longest=14), call.text("secret_key", longest=50)


@method("groups.addCallbackServer", "manage")
def add_server(call: Call) -> Json:
    """Add a server and ask it for the code at once. A new server has all events off."""
    community = call.own_group()
    url, title, secret = _read_server(call)
    if len(community.servers) >= SERVERS:
        raise VkError(2000)
    server = Server(community.next_server, url, title, secret)
    community.next_server += 1
    community.servers[server.id] = server
    call.peer.events.confirm(community, server)
    return {"server_id": server.id}


def _server(call: Call) -> Server:
    server = call.own_group().servers.get(call.integer("server_id"))
    if server is None:
        raise VkError(104)
    return server


@method("groups.editCallbackServer", "manage")
def edit_server(call: Call) -> int:
    """Change a server; another url (or a server that had failed) must be confirmed again."""
    server = _server(call)
    url, server.title, server.secret = _read_server(call)
    if url != server.url or server.status != "ok":
        server.url = url
        call.peer.events.confirm(call.community, server)
    return 1


@method("groups.deleteCallbackServer", "manage")
def delete_server(call: Call) -> int:
    """Remove a server."""
    server = _server(call)
    del call.community.servers[server.id]
    return 1


@method("groups.getCallbackServers", "manage")
def get_servers(call: Call) -> Json:
    """List servers with their status."""
    community, wanted = call.own_group(), call.integers("server_ids", most=100)
    items = [
        {"id": one.id, "title": one.title, "creator_id": 777, "url": one.url, "secret_key": one.secret}
        | {"status": one.status}
        for one in community.servers.values()
        if not wanted or one.id in wanted
    ]
    return {"count": len(items), "items": items}


def _set_events(call: Call, target: Server | LongPoll) -> None:
    """Set the flags that are named; the others stay."""
    changed = {name: int(call.flag(name)) for name in EVENTS if name in call.params}
    target.api_version = call.text("api_version", target.api_version)
    target.events.update(changed)


def _all_events(target: Server | LongPoll) -> Json:
    return {name: target.events.get(name, 0) for name in EVENTS}


@method("groups.setCallbackSettings", "manage")
def set_callback(call: Call) -> int:
    """Choose events and version of a server."""
    _set_events(call, _server(call))
    return 1


@method("groups.getCallbackSettings", "manage")
def get_callback(call: Call) -> Json:
    """Return events and version of a server."""
    server = _server(call)
    return {"api_version": server.api_version, "events": _all_events(server)}


@method("groups.setLongPollSettings", "manage")
def set_longpoll(call: Call) -> int:
    """Switch Long Poll on or off and choose its events."""
    poll = call.own_group().longpoll
    if "enabled" in call.params:
        poll.is_enabled = call.flag("enabled")
    _set_events(call, poll)
    return 1


@method("groups.getLongPollSettings", "manage")
def get_longpoll(call: Call) -> Json:
    """Return the settings of Long Poll."""
    poll = call.own_group().longpoll
    return {"is_enabled": poll.is_enabled, "api_version": poll.api_version, "events": _all_events(poll)}


@method("groups.getLongPollServer", "manage")
def longpoll_server(call: Call) -> Json:
    """Give address, key and number of the last event."""
    community = call.own_group()
    poll = community.longpoll
    if not poll.is_enabled:
        raise VkError(100, "longpoll for this group is not enabled")
    poll.key, poll.key_until = secrets.token_hex(20), call.peer.now() + KEY_LIVES_S
    return {"key": poll.key, "server": f"{call.peer.base_url}/whp/{community.id}", "ts": str(poll.last)}
