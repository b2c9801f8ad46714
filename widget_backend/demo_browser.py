"""A browser just good enough for the demo: opens pages, fills in their forms and sends them, as a person would."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import requests

TIMEOUT_S = 60


class FormMissing(Exception):
    """A page does not have the form that is looked for: it shows something else."""


@dataclass(slots=True)
class Form:
    """A form: its address, the names of its fields, and what it would send untouched."""

    action: str
    names: set[str] = field(default_factory=set)
    values: dict[str, str] = field(default_factory=dict)


class Browser:
    """Keeps cookies; `page` and `address` are what it shows."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False  # everything is on this machine: no proxy
        self.page = ""
        self.address = ""

    def open(self, address: str, fields: dict[str, str] | None = None) -> None:
        """Open an address; with fields as the POST of a form. Raises: requests.RequestException."""
        answer = self._session.request("POST" if fields else "GET", address, data=fields, timeout=TIMEOUT_S)
        answer.raise_for_status()
        self.page, self.address = answer.text, answer.url

    def send(self, to: str = "", **filled: str) -> None:
        """Send the form of this page that has these fields, and whose path ends so. Raises: FormMissing, requests.RequestException."""
        reader = _Forms()
        reader.feed(self.page)
        for form in reader.forms:
            action = urljoin(self.address, form.action)
            if filled.keys() <= form.names and urlsplit(action).path.endswith(to):
                return self.open(action, {**form.values, **filled})
        raise FormMissing(f"{urlsplit(self.address).path} has no form with {', '.join(filled) or to}")


class _Forms(HTMLParser):
    """Reads the forms of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a form or a field of it."""
        has = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(has.get("action", "")))
        elif tag in ("input", "select", "textarea") and self.forms and has.get("name"):
            form = self.forms[-1]
            form.names.add(has["name"])
            is_box = has.get("type") in ("checkbox", "radio")
            if tag == "input" and (not is_box or "checked" in has):
                form.values[has["name"]] = has.get("value", "on" if is_box else "")
