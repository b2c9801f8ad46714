"""Addresses as people write them in a card, in the one spelling by which they are compared and remembered."""

from __future__ import annotations

import re
from collections.abc import Mapping

from widget_backend.bridge.ends import Address

PHONE, EMAIL, LINK = "phone", "email", "link"
_HOSTS: Mapping[str, str] = {
    "vk.com": "vk", "vk.ru": "vk", "vk.me": "vk", "t.me": "telegram", "telegram.me": "telegram",
    "instagram.com": "instagram", "facebook.com": "facebook", "m.me": "facebook", "wa.me": "whatsapp",
}  # fmt: skip
_URL = re.compile(r"(?:https?://)?(?:www\.|m\.)?([a-z0-9.-]+\.[a-z]{2,})/(.*)", re.IGNORECASE)
_NOT_A_PHONE = re.compile(r"[^\d\s()+.\-]")
_RUSSIAN_DIGITS = 11
_PHONE_DIGITS = range(7, 16)  # E.164 has at most 15


def spelled(address: Address) -> Address:
    """Return an address in one spelling: a link of a known network becomes that network's name of somebody, a phone its digits."""
    value = address.value.strip()
    url = _URL.fullmatch(value.split("?")[0].split("#")[0])
    kind = address.kind
    if url is not None and (kind in _HOSTS.values() or url[1].lower() in _HOSTS):
        kind = _HOSTS.get(url[1].lower(), kind)
        value = url[2].strip("/")
    if kind in (PHONE, "whatsapp"):
        return Address(kind=PHONE, value=digits(value), label=address.label)
    name = value.lstrip("@")
    if kind in ("telegram", "viber") and is_phone(name):
        name = digits(name)
    return Address(kind=kind, value=name.lower(), label=address.label)


def digits(value: str) -> str:
    """Return a phone number as digits with its country; a Russian one may begin with 8. Empty when it is no number."""
    if not is_phone(value):
        return ""
    found = re.sub(r"\D", "", value)
    is_domestic = len(found) == _RUSSIAN_DIGITS and found[0] == "8" and "+" not in value
    return f"7{found[1:]}" if is_domestic else found


def is_phone(value: str) -> bool:
    """Tell whether a text can be a phone number."""
    return not _NOT_A_PHONE.search(value) and len(re.sub(r"\D", "", value)) in _PHONE_DIGITS
