"""In which language to answer whoever asks: the one the user chose, else what the browser prefers, else Russian."""

from __future__ import annotations

from flask import has_request_context, request, session

from widget_backend.texts import LANGUAGES

REMEMBERED = "language"
"""The session's field, so that pages which ask for no right (an error) speak it too."""
_CHOSEN = "mostik.language"


def current() -> str:
    """Return the language of this request."""
    if not has_request_context():
        return LANGUAGES[0]
    chosen = request.environ.get(_CHOSEN) or session.get(REMEMBERED)
    return str(chosen) if chosen in LANGUAGES else request.accept_languages.best_match(LANGUAGES, LANGUAGES[0])


def choose(language: str) -> None:
    """Let the rest of this request speak a language."""
    request.environ[_CHOSEN] = language
