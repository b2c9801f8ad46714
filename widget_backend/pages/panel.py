"""The panel of a card, framed in a CRM: write first, the conversations of the card, one of them with its answer box, quick replies, files.

Every call shows the token of its page. Before anything of a card is told or sent, the card is read with the rights of whoever looks (`panel_card.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import wraps
from typing import Any
from uuid import UUID

import structlog
from flask import Response, g, jsonify, make_response, render_template, request

from widget_backend import crypto, language, texts
from widget_backend.accounts import throttle
from widget_backend.bridge import cards, corrections, dialogs, quick_replies, repeat, runtime, setup, uploads
from widget_backend.bridge.composer import KeyReused, Refused, Writer, Written
from widget_backend.bridge.corrections import Correction
from widget_backend.bridge.dialogs import Opening
from widget_backend.bridge.ends import Card
from widget_backend.bridge.recipients import Recipient
from widget_backend.files import FileTooLarge
from widget_backend.pages import panel_card, panel_settings, panel_view
from widget_backend.pages.panel_door import RENEW_AFTER, SEAT_FOR, Seat, framed, read_seat
from widget_backend.pages.panel_door import blueprint as blueprint
from widget_backend.pages.shell import asset
from widget_backend.problems import Problem, Unauthenticated
from widget_backend.reading import Malformed, Reader, read_json
from widget_backend.texts import reason

log = structlog.get_logger()

CALLS, WINDOW = 300, timedelta(minutes=1)
"""How often one viewer may call: a panel that is looked at makes thirty calls a minute."""
CHUNK_BYTES = 64 * 1024
MAX_TEXT_BODY = 256 * 1024
KEY_CHARS = range(16, 65)
API = "/embedded/panel/api"
View = Callable[..., Any]
LEFT_TO_SCRIPTS = {name: f"{{{name}}}" for name in ("count", "left", "megabytes", "name")}
"""Values of texts that only the page's scripts know."""


# -- the page ----------------------------------------------------------------------------------------------------------


@blueprint.get("/embedded/panel")
def page() -> Response:
    """Show the page that a ticket is for; its scripts get a token of their own. The ticket is good for a minute."""
    try:
        seat, _age = read_seat(request.args.get("ticket", ""), "panel_open")
    except Unauthenticated:
        return Response(
            texts.text("pages.panel.ticket_spent", language.current()), 403, content_type="text/plain; charset=utf-8"
        )
    language.choose(seat.locale)
    return _card_page(seat) if seat.place == "card" else panel_settings.show(seat)


def _card_page(seat: Seat) -> Response:
    start = {
        "facts": {
            "token": seat.sign("panel", SEAT_FOR),
            "api": API,
            "origin": seat.origin,
            "locale": seat.locale,
            "view": seat.view,
        },
        "words": {
            slug: seat.words(slug, **LEFT_TO_SCRIPTS)
            for slug in texts.slugs("pages.panel")
            if not slug.startswith("settings_")
        },
    }
    html = render_template(
        "panel.html", seat=seat, p=seat.words, asset=asset, start=json.dumps(start, ensure_ascii=False)
    )
    return framed(make_response(html), seat)


# -- calls of the page -------------------------------------------------------------------------------------------------


def seated(view: View) -> View:
    """Let a call run for whoever shows the token of an opened card, not too often, in his language; hand him a newer token in time."""

    @wraps(view)
    def guarded(**named: Any) -> Any:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        seat, age = read_seat(given, "panel")
        if seat.place != "card" or not seat.end_id:
            raise Unauthenticated()
        allowance = throttle.take("panel", seat.actor, limit=CALLS, window=WINDOW)
        if allowance.is_over:
            raise Problem(429, "too_many", retry_after=allowance.resets_in)
        language.choose(seat.locale)
        g.seat = seat
        answer = make_response(view(seat, **named))
        if age > RENEW_AFTER:
            answer.headers["X-Panel-Token"] = seat.sign("panel", SEAT_FOR)
        answer.headers["Cache-Control"] = "no-store"
        return answer

    return guarded


@blueprint.get(f"{API}/card")
@seated
def card(seat: Seat) -> Response:
    """Say who can be written to from the card."""
    read = panel_card.read(seat, no_older_than=panel_card.NOW if request.args.get("fresh") else panel_card.FRESH)
    return jsonify(panel_view.card(seat, read, panel_view.options(seat, read)))


@blueprint.get(f"{API}/conversations")
@seated
def conversations(seat: Seat) -> Response:
    """List the conversations of the card, the latest first."""
    read = panel_card.read(seat)
    return jsonify(items=[panel_view.conversation(seat, one, read) for one in panel_view.listed(seat, read)])


@blueprint.get(f"{API}/conversations/<uuid:conversation_id>/messages")
@seated
def messages(seat: Seat, conversation_id: UUID) -> Response:
    """Read a page of one conversation of the card."""
    _own(seat, conversation_id)
    before = request.args.get("before", "")
    found = dialogs.talk(seat.account, conversation_id, before=int(before) if before.isdecimal() else None)
    return jsonify(panel_view.talk(seat, found))


@blueprint.post(f"{API}/conversations/<uuid:conversation_id>/messages")
@seated
def answer(seat: Seat, conversation_id: UUID) -> Response:
    """Send a message in a conversation of the card."""
    read = _own(seat, conversation_id)
    written = dialogs.send(seat.account, _opening(seat, read, _body(), conversation_id=conversation_id))
    return jsonify(_written(written))


@blueprint.post(f"{API}/dialogs")
@seated
def begin(seat: Seat) -> Response:
    """Begin a dialog with somebody of the card, with a text or without."""
    given = _body()
    read = panel_card.read(seat, no_older_than=panel_card.FRESH)
    whom = _recipient(seat, read, given["recipient"].text())
    channel_id = UUID(given["channel"].text())
    if channel_id not in {way.channel.id for way in whom.ways}:
        raise Malformed("channel", "a channel of the list", "another")
    contact = cards.key(whom.person.kind, whom.person.remote_id)
    opening = _opening(seat, read, given, channel_id=channel_id, address=whom.address, contact=contact)
    written = dialogs.start(seat.account, opening)
    return jsonify({**panel_view.begun(seat, read, written.conversation_id), **_written(written)})


@blueprint.post(f"{API}/deliveries/<uuid:delivery_id>/repeat")
@seated
def send_again(seat: Seat, delivery_id: UUID) -> Response:
    """Send again what failed, expired or stayed uncertain; the same key again does nothing."""
    conversation_id = panel_card.conversation_of(seat, delivery_id)
    if conversation_id is None:
        raise KeyError(delivery_id)
    _own(seat, conversation_id, no_older_than=panel_card.NOW)
    is_new = repeat.repeat(seat.account, delivery_id, key=_key(seat, _body()), actor=seat.actor)
    return jsonify(is_new=is_new)


@blueprint.route(f"{API}/conversations/<uuid:conversation_id>/messages/<uuid:message_id>", methods=["PATCH", "DELETE"])
@seated
def correct(seat: Seat, conversation_id: UUID, message_id: UUID) -> Response:
    """Change a message of ours, or take it back, at the client's too; the same key again does nothing."""
    read = _own(seat, conversation_id, no_older_than=panel_card.NOW)
    if panel_card.conversation_of_message(seat, message_id) != conversation_id:
        raise KeyError(message_id)
    given = _body()
    text = given["text"].text() if request.method == "PATCH" else None
    correction = Correction(key=_key(seat, given), writer=_writer(seat, read), message_id=message_id, text=text)
    return jsonify(_written(corrections.correct(seat.account, correction)))


@blueprint.get(f"{API}/quick-replies")
@seated
def replies(seat: Seat) -> Response:
    """Find quick replies, shared and the viewer's own, filled with the facts of the card."""
    read = panel_card.read(seat)
    wanted = quick_replies.Wanted(
        owner=seat.actor, language=read.language, query=request.args.get("q", "")[:200], limit=20
    )
    rows, _more = quick_replies.found(seat.account, wanted)
    return jsonify(items=[panel_view.reply(seat, row, read) for row in rows])


@blueprint.post(f"{API}/files")
@seated
def take_file(seat: Seat) -> Response:
    """Take in a file, which is the body of the request, to be sent with a message."""
    limit = runtime.get().config.outside_max_file_bytes
    if (request.content_length or 0) > limit:
        raise FileTooLarge(limit)
    request.max_content_length = None  # the store counts
    stored = uploads.take(seat.account, _chunks(), name=request.args.get("name", ""))
    return jsonify(panel_view.upload(seat, stored))


# -- trouble -----------------------------------------------------------------------------------------------------------


def _said(status: int, slug: str, detail: str) -> Response:
    response = jsonify(reason=slug, detail=detail)
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response


def _sentence(slug: str, adapter: str) -> str:
    return reason(slug, adapter, language.current())


@blueprint.errorhandler(Refused)
def _refused(error: Refused) -> Response:
    return _said(422, error.reason, _sentence(error.reason, error.adapter))


@blueprint.errorhandler(cards.CardRefused)
def _card_refused(error: cards.CardRefused) -> Response:
    status = {cards.FORBIDDEN: 403, cards.GONE: 404}.get(error.reason, 409)
    return _said(status, error.reason, _sentence(error.reason, g.seat.adapter))


@blueprint.errorhandler(setup.Trouble)
def _trouble(error: setup.Trouble) -> Response:
    log.warning("panel_trouble", reason=error.reason)
    return _said(502, error.reason, _sentence(error.reason, g.seat.adapter))


@blueprint.errorhandler(repeat.CannotRepeat)
def _cannot_repeat(error: repeat.CannotRepeat) -> Response:
    return _said(409, error.reason, texts.text("pages.panel.cannot_repeat", language.current()))


@blueprint.errorhandler(KeyReused)
def _key_reused(error: KeyReused) -> Response:
    return _said(409, "key_reused", texts.text("pages.panel.key_reused", language.current()))


@blueprint.errorhandler(uploads.BadUpload)
def _bad_upload(error: uploads.BadUpload) -> Response:
    return _said(422, "file_expired", _sentence("file_expired", ""))


@blueprint.errorhandler(FileTooLarge)
def _too_large(error: FileTooLarge) -> Response:
    megabytes = error.max_bytes // 1024 // 1024
    return _said(413, "too_large", texts.text("pages.panel.too_large", language.current(), megabytes=megabytes))


@blueprint.errorhandler(KeyError)
def _not_found(error: KeyError) -> Response:
    return _said(404, "not_found", texts.text("pages.panel.not_found", language.current()))


@blueprint.errorhandler(Malformed)
def _malformed(error: Malformed) -> Response:
    return _said(422, "malformed", texts.text("pages.panel.failed", language.current()))


@blueprint.errorhandler(Problem)
def _problem(error: Problem) -> Response:
    slug = "expired" if error.status == 401 else "too_often" if error.status == 429 else "failed"
    return _said(error.status, error.slug, texts.text(f"pages.panel.{slug}", language.current()))


# -- small parts -------------------------------------------------------------------------------------------------------


def _own(seat: Seat, conversation_id: UUID, *, no_older_than: timedelta = panel_card.LASTING) -> Card:
    """Return the card, if a conversation is one of its. Raises: KeyError, and as `panel_card.read`."""
    read = panel_card.read(seat, no_older_than=no_older_than)
    if not panel_card.has_conversation(seat, read, conversation_id):
        raise KeyError(conversation_id)
    return read


def _recipient(seat: Seat, read: Card, key: str) -> Recipient:
    found = [one for one in panel_view.options(seat, read) if crypto.same(panel_view.recipient_key(one), key)]
    if not found:
        raise Refused("card_gone")
    return found[0]


def _body() -> Reader:
    return read_json(request.get_data(cache=False), max_bytes=MAX_TEXT_BODY)


def _key(seat: Seat, given: Reader) -> str:
    """Return the key of a composer, one viewer's own."""
    key = given["key"].text()
    if len(key) not in KEY_CHARS:
        raise Malformed("key", "16 to 64 characters", "another length")
    return f"{seat.actor}:{key}"


def _opening(seat: Seat, read: Card, given: Reader, **whom: Any) -> Opening:
    return Opening(
        key=_key(seat, given),
        writer=_writer(seat, read),
        text=given["text"].text_or(""),
        files=tuple(uploads.of_ticket(seat.account, one.text()) for one in given["files"].items()),
        connection_id=seat.connection,
        card=seat.card,
        **whom,
    )


def _writer(seat: Seat, read: Card) -> Writer:
    return Writer(actor=seat.actor, id=seat.user_id, name=read.fields.get("USER_NAME", ""))


def _written(written: Written) -> dict[str, object]:
    return {"id": str(written.conversation_id), "message": str(written.message_id), "is_new": written.is_new}


def _chunks() -> Iterator[bytes]:
    while chunk := request.stream.read(CHUNK_BYTES):
        yield chunk
