"""Reading a portal's chats: a part whose fate is unknown, and operators' messages whose events were lost (bitrix24.md 5.3, 12.13).

The history of a session may be read without being a member of its chat, so the session is what is asked for; the chat tells which one is running.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from widget_backend import clock
from widget_backend.bridge.ends import Conversation, Item, PullRequest, Raw
from widget_backend.bridge.errors import Retry, Uncertain
from widget_backend.crms.bitrix24.client import BATCH_LIMIT, Portal, Refusal
from widget_backend.crms.bitrix24.client_connector import chat_id, chat_name
from widget_backend.crms.bitrix24.hooks import PULLED_LOSS, PULLED_MESSAGES, PULLED_MOVE
from widget_backend.limits import Priority
from widget_backend.reading import Malformed, Reader

_CLOCKS_APART = timedelta(minutes=2)
_CHATS_AT_ONCE = 24  # each may need two sessions in the second request


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search for a part brought. `is_complete`: every place where it could be was looked at."""

    is_there: bool
    is_complete: bool
    session: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Chat:
    """A conversation as the portal numbers it."""

    conversation: Conversation
    chat_id: str
    sessions: tuple[str, ...]
    client_user_id: str


def find(portal: Portal, item: Item, *, connector: str, line: str) -> Found:
    """Look for a part by its key among the external ids of the messages in the conversation's sessions.

    Shape: a chat that nobody told us of is searched among the recent chats of the employee whose token we use, who need not be in it; its absence
    is proved only by the portal's refusal to name it.
    Source: bitrix24.md 5.3 (session.history.get: params.connectorMid; dialog.get: entity_data_1).
    """
    chat = _known(item.conversation)
    if not chat.chat_id and not chat.sessions:
        known = _recent(portal, f"{connector}|", chat_id(item.conversation))
        if known is None:
            return Found(is_there=False, is_complete=item.is_first and _has_no_chat(portal, item, connector, line))
        chat = _Chat(chat.conversation, known, (), "")
    chats = _with_sessions(portal, [chat], Priority.LIVE)  # a live conversation waits for this
    complete = bool(chats[0].sessions)
    for opened, answer in _histories(portal, chats, Priority.LIVE):
        if isinstance(answer, Refusal):
            complete = False
            continue
        for _, message in _entries(answer["message"]):
            if item.key in _external_ids(message):
                session = {
                    "chat_id": answer["chatId"].remote_id_or(opened.chat_id),
                    "session_id": answer["sessionId"].remote_id_or(""),
                }
                kept = {name: value for name, value in session.items() if value}
                return Found(is_there=True, is_complete=True, session=kept)
    return Found(is_there=False, is_complete=complete)


def missed(portal: Portal, request: PullRequest, *, are_bound: Callable[[Reader], bool]) -> tuple[Raw, ...]:
    """Fetch what the operators wrote in the conversations and nobody has confirmed yet; two requests for two dozen conversations.

    Shape: one Raw a message, named by its numbers, so that the same one is kept once.
    Source: bitrix24.md 12.13 (events are sent once), 2.3 (batch).
    """
    chats = [chat for chat in map(_known, request.conversations) if chat.chat_id or chat.sessions]
    raws: list[Raw] = []
    handlers = portal.call("event.get", {}, priority=Priority.HISTORY)
    if not are_bound(handlers):
        raws.append(_raw(f"handlers:{int(clock.now().timestamp()) // 60}", {"event": PULLED_LOSS}))
    for start in range(0, len(chats), _CHATS_AT_ONCE):
        group = _with_sessions(portal, chats[start : start + _CHATS_AT_ONCE], Priority.HISTORY)
        for chat, answer in _histories(portal, group, Priority.HISTORY):
            if isinstance(answer, Refusal):
                if isinstance(error := answer.error(), Retry):
                    raise error
                continue  # the app's user may not read this chat; the hooks still come
            try:
                raws.extend(_unconfirmed(chat, answer, request.since - _CLOCKS_APART))
            except Malformed as error:
                raise Uncertain("unknown_answer", str(error)) from error
    if portal.moved_to:
        raws.append(_raw(f"move:{portal.moved_to}", {"event": PULLED_MOVE, "client_endpoint": portal.moved_to}))
    return tuple(raws)


def _known(conversation: Conversation) -> _Chat:
    state = conversation.link.state if conversation.link else {}
    session = state.get("session_id", "")
    return _Chat(conversation, state.get("chat_id", ""), (session,) if session else (), state.get("client_user_id", ""))


def _with_sessions(portal: Portal, chats: Sequence[_Chat], priority: Priority) -> list[_Chat]:
    """Add to each chat the session that is running now: we may have missed its start."""
    asked = {f"c{at}": chat for at, chat in enumerate(chats) if chat.chat_id}
    if not asked:
        return list(chats)
    commands = {name: ("imopenlines.dialog.get", {"CHAT_ID": chat.chat_id}) for name, chat in asked.items()}
    answers = portal.batch(commands, priority=priority)
    opened: list[_Chat] = []
    for at, chat in enumerate(chats):
        answer = answers.get(f"c{at}")
        current = _current_session(answer) if isinstance(answer, Reader) else ""
        sessions = tuple(dict.fromkeys(session for session in (current, *chat.sessions) if session))
        opened.append(_Chat(chat.conversation, chat.chat_id, sessions, chat.client_user_id))
    return opened


def _current_session(dialog: Reader) -> str:
    """Return the sixth part of entity_data_1. Source: bitrix24.md 5.3 (dialog.get)."""
    try:
        parts = dialog["entity_data_1"].text_or("").split("|")
    except Malformed:
        return ""
    return parts[5] if len(parts) > 5 and parts[5].isdecimal() and parts[5] != "0" else ""


def _histories(portal: Portal, chats: Sequence[_Chat], priority: Priority) -> Iterator[tuple[_Chat, Reader | Refusal]]:
    wanted = {f"h{at}": (chat, session) for at, (chat, session) in enumerate(_pairs(chats))}
    if not wanted:
        return
    assert len(wanted) <= BATCH_LIMIT
    commands = {
        name: ("imopenlines.session.history.get", {"SESSION_ID": session}) for name, (_, session) in wanted.items()
    }
    for name, answer in portal.batch(commands, priority=priority).items():
        yield wanted[name][0], answer


def _pairs(chats: Sequence[_Chat]) -> list[tuple[_Chat, str]]:
    return [(chat, session) for chat in chats for session in chat.sessions]


def _recent(portal: Portal, prefix: str, external_id: str) -> str | None:
    """Find a chat by our id of it among the recent chats of the app's user. Source: bitrix24.md 5.3 (USER_CODE in entity_id)."""
    answer = _read_or_none(portal, "im.recent.list", {"LIMIT": 200, "SKIP_DIALOG": "Y", "SKIP_CHAT": "Y"})
    for entry in answer["items"].items() if answer is not None else ():
        code = entry["chat"]["entity_id"].text_or("")
        if code.startswith(prefix) and code.split("|")[2:3] == [external_id]:
            return entry["chat"]["id"].remote_id()
    return None


def _has_no_chat(portal: Portal, item: Item, connector: str, line: str) -> bool:
    """Tell whether the portal surely has no chat for the conversation: it refuses to give it a name. Anything else proves nothing.

    Source: bitrix24.md 3.2 (imconnector.chat.name.set, CHAT_RENAMING_FAILED; that it means an unknown chat is unconfirmed).
    """
    at = {"CONNECTOR": connector, "LINE": line, "CHAT_ID": chat_id(item.conversation)}
    who = {"USER_ID": item.conversation.client.id, "NAME": chat_name(item.conversation) or "-"}
    answer = portal.ask("imconnector.chat.name.set", {**at, **who})
    return isinstance(answer, Refusal) and answer.code.upper() == "CHAT_RENAMING_FAILED"


def _read_or_none(portal: Portal, method: str, params: Mapping[str, object]) -> Reader | None:
    """Read something that the reader may not be allowed to see."""
    answer = portal.ask(method, params)
    if isinstance(answer, Reader):
        return answer
    if isinstance(error := answer.error(), Retry):
        raise error
    return None


def _unconfirmed(chat: _Chat, answer: Reader, since: datetime) -> Iterator[Raw]:
    """Pick the operators' messages without an external id: not the client's, not service lines, not whispers."""
    people = dict(_entries(answer["users"]))
    files = dict(_entries(answer["files"]))
    number = answer["chatId"].remote_id()
    for _, message in sorted(_entries(answer["message"]), key=lambda entry: entry[1]["id"].integer()):
        sender = message["senderid"].remote_id_or("0")
        at = _when(message["date"].text_or(""))
        if sender in ("0", chat.client_user_id) or _is_client(people.get(sender)) or (at and at < since):
            continue
        if _external_ids(message) or _is_hidden(message["params"]):
            continue
        told: dict[str, object] = {
            "id": message["id"].remote_id(),
            "user_id": sender,
            "author": people[sender]["name"].text_or("") if sender in people else "",
            "text": message["text"].text_or(""),
            "at": at.timestamp() if at else 0,
            "files": [files[id].plain() for id in _texts(message["params"], "fileId") if id in files],
        }
        body = {
            "event": PULLED_MESSAGES,
            "thread": chat_id(chat.conversation),
            "chat_id": number,
            "messages": [told],
        }
        yield _raw(f"message:{number}:{told['id']}", body)


def _entries(value: Reader) -> list[tuple[str, Reader]]:
    """Return a map of the history by id; PHP writes an empty one as [], and one whose keys run from 0 as a list."""
    if isinstance(value.plain(), list):
        return [(str(at), entry) for at, entry in enumerate(value.items())]
    return list(value.fields())


def _is_client(person: Reader | None) -> bool:
    return person is not None and person["connector"].flag_or(False)


def _is_hidden(params: Reader) -> bool:
    """Tell a whisper or a service line from what the client was meant to read (parameter names unconfirmed)."""
    marks = [params[name].plain() for name in ("componentId", "class")] if isinstance(params.plain(), dict) else []
    return any(mark and ("Hidden" in str(mark) or "system" in str(mark)) for mark in marks)


def _external_ids(message: Reader) -> list[str]:
    return _texts(message["params"], "connectorMid")


def _texts(params: Reader, name: str) -> list[str]:
    if not isinstance(params.plain(), dict):  # PHP writes an empty map as []
        return []
    value = params[name].plain()
    listed = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return [str(entry) for entry in listed if entry not in (None, "")]


def _when(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _raw(event_id: str, body: Mapping[str, object]) -> Raw:
    return Raw(event_id=f"pull:{event_id}", body=json.dumps(body, ensure_ascii=False).encode())
