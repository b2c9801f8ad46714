"""Bitrix24 behind the seam: our connector on an open line, messages into its chats, marks of delivery, and what the queue lost.

Ids: towards the portal a part is called by its key (`message.id`, later `connectorMid`), a conversation by its link (`chat.id`); an operator's message
is "chat:message" in the portal's numbers, and the same text is the external id that we report for it, so that every later event names it. The echo of
what we showed as the company's own carries the key in an invisible mark (`format`), and is known by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from widget_backend import clock
from widget_backend.bridge.ends import (
    Accepted,
    Act,
    Choice,
    Connected,
    End,
    Item,
    Keep,
    NotThere,
    Outcome,
    Pulled,
    PullRequest,
)
from widget_backend.bridge.errors import EndError, Misconfigured, Rejected, Retry, Uncertain, Unregistered, preparing
from widget_backend.bridge.events import Attachment
from widget_backend.crms.bitrix24 import client_connector as connector
from widget_backend.crms.bitrix24 import client_history as history
from widget_backend.crms.bitrix24.client import Portal, Refusal, masked
from widget_backend.crms.bitrix24.format import MarkKind
from widget_backend.crms.bitrix24.hooks import EVENTS_BOUND, UPDATE_EVENTS, host_of
from widget_backend.reading import Malformed, Reader

SCOPES_NEEDED = frozenset({"imopenlines", "imconnector"})
_NAME = "Mostik"
_LINES = {"PARAMS": {"select": ["ID", "LINE_NAME", "ACTIVE"], "limit": 200}}
_ICON = (
    "data:image/svg+xml,%3Csvg%20xmlns%3D%22http%3A%2F%2Fwww.w3.org%2F2000%2Fsvg%22%20viewBox%3D%220%200%2070%2071%22%3E"
    "%3Cpath%20fill%3D%22%23fff%22%20d%3D%22M10%2046c10-22%2040-22%2050%200h-7c-8-14-28-14-36%200zM8%2050h54v6H8z%22%2F%3E%3C%2Fsvg%3E"
)
_ARRIVED = frozenset({"sent", "received", "read"})  # one mark for all: what comes first is not always "sent"
_LOST = frozenset({"failed", "expired", "uncertain", "discarded"})


class Bitrix24:
    """A portal's open line."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._portal = Portal.of(end)
        self._connector = str(end.settings.get("connector") or f"mostik_{end.id.replace('-', '')[-12:]}")

    # -- life --------------------------------------------------------------------------------------------------------

    def connect(self, keep: Keep) -> Connected:
        """Register connector and events and, once a line is chosen, go live on it. May be repeated; needed after every version of the app.

        Source: bitrix24.md 3.1, 3.2 ("Order to go live"), 7, 1.6.
        """
        with preparing():
            self._check_scopes()
            self._register()
            keep(settings={"connector": self._connector})
            self._bind_events()
            line = self._go_live()
        settings: dict[str, object] = {"connector": self._connector, "active_line": line}
        if self._portal.moved_to:
            settings |= {"client_endpoint": self._portal.endpoint, "domain": host_of(self._portal.endpoint)}
        return Connected(
            remote_id=self._end.remote_id,
            title=str(self._end.settings.get("domain", "")) or host_of(self._portal.endpoint),
            settings=settings,
            warnings=() if line else ("bitrix24_no_line",),
        )

    def check(self) -> None:
        """Ask whether our handlers are bound and the line still has our connector. Source: bitrix24.md 3.2, 7."""
        with preparing():
            answers = self._portal.batch(
                {
                    "handlers": ("event.get", {}),
                    "status": ("imconnector.status", {"CONNECTOR": self._connector, "LINE": self._line or 0}),
                }
            )
        if not self._are_bound(_or_raise(answers["handlers"])):
            raise Unregistered("bitrix24_handlers_gone")
        if self._line and not _or_raise(answers["status"])["STATUS"].flag_or(False):
            raise Misconfigured("bitrix24_line_inactive", f"line {self._line}")

    def disconnect(self) -> None:
        """Unbind the events and take the connector away; what is gone already is fine. Source: bitrix24.md 3.2, 7."""
        with preparing():
            answers = self._portal.batch(
                {
                    **{f"e{at}": self._unbinding(event) for at, event in enumerate((*EVENTS_BOUND, *UPDATE_EVENTS))},
                    "connector": ("imconnector.unregister", {"ID": self._connector}),
                }
            )
        for refusal in answers.values():
            if isinstance(refusal, Refusal) and isinstance(error := refusal.error(), Retry):
                raise error

    def pull(self, request: PullRequest) -> Pulled:
        """Find operators' messages whose events were lost, and whether the portal forgot our handlers or moved. Source: bitrix24.md 12.13."""
        with preparing():
            raws = history.missed(self._portal, request, are_bound=self._are_bound)
        return Pulled(raws=raws, cursor={})

    def locate(self, attachment: Attachment) -> tuple[str, Mapping[str, str]]:
        """Refuse: files of a portal come with their address. Source: bitrix24.md 4."""
        raise Rejected("no_file", attachment.kind.value)

    def lookup(self, item: Item) -> Accepted | NotThere:
        """Find a part by its key among the external ids of its chat's messages; what only repeats itself is simply done again.

        Source: bitrix24.md 5.3 (params.connectorMid).
        """
        if item.act not in (Act.NEW, Act.STATUS) or (item.act is Act.STATUS and item.status not in _LOST):
            return NotThere()
        with preparing():
            found = history.find(self._portal, item, connector=self._connector, line=self._line)
        if found.is_there:
            return Accepted(remote_ids=(item.key,), state=found.session)
        if item.started_at and clock.now() - item.started_at < self._request_limit:
            raise Retry("bitrix24_not_settled", after=timedelta(seconds=5))
        if not found.is_complete:
            raise Uncertain("bitrix24_chat_unknown")
        return NotThere()

    # -- delivery ----------------------------------------------------------------------------------------------------

    def import_messages(self, batch: Sequence[Item]) -> Sequence[Outcome]:
        """Show messages of one or many conversations with one call. Source: bitrix24.md 3.3."""
        entries = [connector.message(item, self._end, MarkKind.MESSAGE) for item in batch]
        outcomes = self._send(batch, entries)
        again = [
            at for at, entry in enumerate(entries) if isinstance(outcomes[at], Rejected) and "phone" in entry["user"]
        ]
        if again:  # 3.3: skip_phone_validate is for numbers that the validator refuses, and nothing else
            retried = [{**entries[at], "user": {**entries[at]["user"], "skip_phone_validate": "Y"}} for at in again]
            try:
                sent: Sequence[Outcome] = self._send([batch[at] for at in again], retried)
            except EndError as error:  # of these alone: what the first call showed must not be shown again
                sent = [error] * len(again)
            for at, outcome in zip(again, sent, strict=True):
                outcomes[at] = outcome
        return outcomes

    def edit(self, item: Item) -> Outcome:
        """Replace the text of a message we showed. Source: bitrix24.md 3.3 (update.messages)."""
        entry = connector.message(item, self._end, MarkKind.EDIT)
        entry["message"]["id"] = _first_id(item)
        return self._change("imconnector.update.messages", entry)

    def delete(self, item: Item) -> Outcome:
        """Delete a message we showed. Source: bitrix24.md 3.3 (delete.messages)."""
        return self._change("imconnector.delete.messages", connector.reference(item, _first_id(item)))

    def report(self, batch: Sequence[Item]) -> Sequence[Outcome]:
        """Mark operators' messages as delivered, or say in the chat why one was not.

        Source: bitrix24.md 3.4.
        """
        outcomes: list[Outcome] = [Accepted() for _ in batch]
        marks: dict[int, connector.Entry] = {}
        notes: dict[int, connector.Entry] = {}
        for at, item in enumerate(batch):
            if item.status in _LOST and item.reason_text:
                notes[at] = connector.note(item, self._end)
            elif item.status in _ARRIVED and not connector.was_shown(item):
                try:
                    marks[at] = connector.delivered(item)
                except Rejected as error:
                    outcomes[at] = error
        if marks:
            self._confirm(list(marks.values()))
        if notes:
            sent = self._send([batch[at] for at in notes], list(notes.values()))
            for at, outcome in zip(notes, sent, strict=True):
                outcomes[at] = outcome
        return outcomes

    def settings_catalog(self, name: str) -> Sequence[Choice]:
        """List the portal's open lines, or its employees. Source: bitrix24.md 5.1 (config.list.get), 9 (user.get)."""
        with preparing():
            if name == "lines":
                return [_line_choice(line) for line in self._portal.call("imopenlines.config.list.get", _LINES).items()]
            if name == "users":
                employees = self._portal.ask("user.get", {"FILTER": {"ACTIVE": True, "USER_TYPE": "employee"}})
                if isinstance(employees, Refusal) and employees.code.lower() == "insufficient_scope":
                    return []  # 1.6: user_brief is a right the app may do without
                return [_user_choice(user) for user in _or_raise(employees).items()]
        raise Rejected("unknown_catalog", name)

    @property
    def _request_limit(self) -> timedelta:
        """How long the portal may still work on a request after we stopped waiting (bitrix24.md 2: the cloud cuts at 60 s)."""
        return timedelta(seconds=int(self._end.server("request_limit_s")))

    # -- steps of connect --------------------------------------------------------------------------------------------

    @property
    def _line(self) -> str:
        return str(self._end.settings.get("line", ""))

    @property
    def _handler(self) -> str:
        return f"{self._end.hook_url}/event"

    def _page(self, name: str) -> str:
        url = str(self._end.settings.get("pages_url", ""))
        if not url:
            raise Misconfigured("bitrix24_not_installed", "no pages_url")
        return f"{url}/{name}"

    def _check_scopes(self) -> None:
        granted = {scope.text() for scope in self._portal.call("scope", {}).items()}
        if missing := SCOPES_NEEDED - granted:
            raise Misconfigured("bitrix24_scope", ", ".join(sorted(missing)))

    def _register(self) -> None:
        icon = {"DATA_IMAGE": _ICON, "COLOR": "#2f6fed", "SIZE": "90%", "POSITION": "center"}
        answer = self._portal.call(
            "imconnector.register",
            {
                "ID": self._connector,
                "NAME": _NAME,
                "ICON": icon,
                "ICON_DISABLED": {**icon, "COLOR": "#a8b1c0"},
                "PLACEMENT_HANDLER": self._page("setting"),
                "CHAT_GROUP": "N",
                "NEED_SYSTEM_MESSAGES": "Y" if self._end.settings.get("automatic_texts", True) else "N",
                "NEED_SIGNATURE": "Y",
                "DEL_EXTERNAL_MESSAGES": "Y",
                "EDIT_INTERNAL_MESSAGES": "Y",
                "DEL_INTERNAL_MESSAGES": "Y",
            },
        )
        if not answer["result"].flag_or(False):  # 12.6: the outer result is there even when it failed
            raise Misconfigured("bitrix24_register_failed", masked(answer["error"].text_or("")))

    def _bind_events(self) -> None:
        """Bind what is not bound to the present address, and unbind what an earlier address of ours left behind."""
        wanted = {event.upper(): self._handler for event in EVENTS_BOUND}
        wanted |= {event.upper(): self._page("install") for event in UPDATE_EVENTS}
        bound = self._bound(self._portal.call("event.get", {}))
        missing = [(event, handler) for event, handler in wanted.items() if (event, handler) not in bound]
        stale = [(event, handler) for event, handler in bound if event in wanted and handler != wanted[event]]
        commands: dict[str, tuple[str, Mapping[str, object]]] = {}
        for at, (event, handler) in enumerate(missing):
            commands[f"b{at}"] = ("event.bind", {"event": event, "handler": handler})
        for at, (event, handler) in enumerate(stale[:20]):
            commands[f"u{at}"] = ("event.unbind", {"event": event, "handler": handler})
        if not commands:
            return
        for name, answer in self._portal.batch(commands).items():
            if isinstance(answer, Refusal) and name.startswith("b") and "already bind" not in answer.text.lower():
                raise answer.error()

    def _go_live(self) -> str:
        """Activate the chosen line, describe ourselves on it and leave the line of before; return the line, empty without one."""
        before = str(self._end.settings.get("active_line", ""))
        if before and before != self._line:
            self._portal.ask("imconnector.activate", {"CONNECTOR": self._connector, "LINE": int(before), "ACTIVE": "0"})
        if not self._line:
            return ""
        at = {"CONNECTOR": self._connector, "LINE": int(self._line)}
        about = {"ID": self._end.id, "URL": "", "URL_IM": "", "NAME": _NAME}
        self._portal.call("imconnector.activate", {**at, "ACTIVE": "1"})
        self._portal.call("imconnector.connector.data.set", {**at, "DATA": about})
        if not self._portal.call("imconnector.status", at)["STATUS"].flag_or(False):
            raise Misconfigured("bitrix24_line_inactive", f"line {self._line}")
        return self._line

    def _unbinding(self, event: str) -> tuple[str, Mapping[str, object]]:
        handler = self._page("install") if event in UPDATE_EVENTS else self._handler
        return ("event.unbind", {"event": event, "handler": handler})

    def _are_bound(self, handlers: Reader) -> bool:
        bound = self._bound(handlers)
        return all((event.upper(), self._handler) in bound for event in EVENTS_BOUND)

    def _bound(self, handlers: Reader) -> set[tuple[str, str]]:
        return {(entry["event"].text().upper(), entry["handler"].text_or("")) for entry in handlers.items()}

    # -- calls -------------------------------------------------------------------------------------------------------

    def _at_line(self, entries: Sequence[Mapping[str, object]]) -> dict[str, object]:
        if not self._line:
            raise Misconfigured("bitrix24_no_line")
        return {"CONNECTOR": self._connector, "LINE": int(self._line), "MESSAGES": list(entries)}

    def _send(self, batch: Sequence[Item], entries: Sequence[connector.Entry]) -> list[Outcome]:
        result = self._portal.call("imconnector.send.messages", self._at_line(entries))
        return _outcomes(result, [item.key for item in batch])

    def _change(self, method: str, entry: connector.Entry) -> Outcome:
        known = str(entry["message"]["id"])
        outcome = _outcomes(self._portal.call(method, self._at_line([entry])), [known])[0]
        return Accepted(remote_ids=(known,)) if isinstance(outcome, Accepted) else outcome

    def _confirm(self, entries: Sequence[connector.Entry]) -> None:
        answer = self._portal.call("imconnector.send.status.delivery", self._at_line(entries))
        if not answer["SUCCESS"].flag_or(False):
            raise Uncertain("unknown_answer", "send.status.delivery without SUCCESS")


def _outcomes(result: Reader, keys: Sequence[str]) -> list[Outcome]:
    """Read the answer for each item; the outer SUCCESS says nothing about them. Source: bitrix24.md 3.3, 12.15."""
    try:
        entries = result["DATA"]["RESULT"].items()
        by_id = {entry["message"]["id"].remote_id_or(""): entry for entry in entries if entry["message"].is_there}
        by_place = dict(zip(keys, entries, strict=False))
        return [_outcome(by_id.get(key, by_place.get(key)), key) for key in keys]
    except Malformed as error:
        raise Uncertain("unknown_answer", str(error)) from error


def _outcome(entry: Reader | None, key: str) -> Outcome:
    if entry is None:
        return Uncertain("unknown_answer", "no answer for this item")
    if not entry["SUCCESS"].flag_or(False):
        said = "; ".join(
            error.text_or("") if isinstance(error.plain(), str) else "" for error in entry["ERRORS"].items()
        )
        return Rejected("bitrix24_refused", masked(said))
    state = {
        "chat_id": entry["session"]["CHAT_ID"].remote_id_or(""),
        "session_id": entry["session"]["ID"].remote_id_or(""),
        "client_user_id": entry["user"].remote_id_or("") if not isinstance(entry["user"].plain(), dict | list) else "",
    }
    return Accepted(remote_ids=(key,), state={name: value for name, value in state.items() if value})


def _or_raise(answer: Reader | Refusal) -> Reader:
    if isinstance(answer, Refusal):
        raise answer.error()
    return answer


def _first_id(item: Item) -> str:
    if not item.remote_ids:
        raise Rejected("unknown_message")
    return item.remote_ids[0]


def _line_choice(line: Reader) -> Choice:
    note = "" if line["ACTIVE"].flag_or(True) else "inactive"
    return Choice(value=line["ID"].remote_id(), label=line["LINE_NAME"].text_or(""), note=note)


def _user_choice(user: Reader) -> Choice:
    names = (user["NAME"].text_or(""), user["LAST_NAME"].text_or(""))
    return Choice(value=user["ID"].remote_id(), label=" ".join(filter(None, names)) or user["ID"].remote_id())
