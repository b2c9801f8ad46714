"""vk.md 5.10: uploads in three steps; what customers send can really be downloaded."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.sandbox import samples
from tests.sandbox.run import start
from tests.unit.sandbox.vk_desk import USER, Desk

PHOTO = ("photo.png", samples.png(64, 48), "image/png")


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(["--only", "vk"]) as running:
        yield running.addresses["vk"]["base_url"]


@pytest.fixture
def desk(base: str) -> Desk:
    desk = Desk(base)
    desk.say("hi")
    return desk


def put(url: str, field: str, file: Any) -> Any:
    return requests.post(url, files={field: file}, timeout=5).json()


def photo_url(desk: Desk) -> str:
    return str(desk.ok("photos.getMessagesUploadServer", peer_id=USER)["upload_url"])


def doc_url(desk: Desk, kind: str = "doc") -> str:
    return str(desk.ok("docs.getMessagesUploadServer", peer_id=USER, type=kind)["upload_url"])


def test_a_photo_goes_in_three_steps_and_reaches_the_phone(desk: Desk) -> None:
    saved = desk.ok("photos.saveMessagesPhoto", **put(photo_url(desk), "photo", PHOTO))[0]
    name = f"photo{saved['owner_id']}_{saved['id']}_{saved['access_key']}"
    desk.send("", attachment=name)
    shown = desk.ledger("message")[-1]["attachments"][0]
    assert shown["type"] == "photo" and requests.get(shown["url"], timeout=5).content == PHOTO[1]


def test_a_wrong_field_name_gives_an_empty_photo(desk: Desk) -> None:
    answer = put(photo_url(desk), "file", PHOTO)
    assert answer["photo"] == "[]"
    assert desk.code("photos.saveMessagesPhoto", **answer) == 100


@pytest.mark.parametrize("content", [b"not an image", samples.png(2100, 100), samples.png(13950, 700)])
def test_no_image_or_one_of_wrong_measures_is_rejected(desk: Desk, content: bytes) -> None:
    assert put(photo_url(desk), "photo", ("x.png", content, "image/png"))["photo"] == "[]"


def test_a_saved_photo_cannot_be_saved_twice_or_by_a_wrong_hash(desk: Desk) -> None:
    answer = put(photo_url(desk), "photo", PHOTO)
    assert desk.code("photos.saveMessagesPhoto", **{**answer, "hash": "0" * 32}) == 121
    assert desk.code("photos.saveMessagesPhoto", **{**answer, "server": 1}) == 118
    desk.ok("photos.saveMessagesPhoto", **answer)
    assert desk.code("photos.saveMessagesPhoto", **answer) == 121


def test_an_upload_address_expires(desk: Desk) -> None:
    url = photo_url(desk)
    desk.control("clock", advance_s=3700)
    assert put(url, "photo", PHOTO)["error"]


def test_a_document_keeps_its_name_and_bytes(desk: Desk) -> None:
    answer = put(doc_url(desk), "file", ("Прайс 2026.pdf", samples.pdf(), "application/pdf"))
    doc = desk.ok("docs.save", **answer, title="Прайс 2026.pdf")["doc"]
    desk.send("", attachment=f"doc{doc['owner_id']}_{doc['id']}")
    shown = desk.ledger("message")[-1]["attachments"][0]
    assert shown["name"] == "Прайс 2026.pdf" and requests.get(shown["url"], timeout=5).content == samples.pdf()


@pytest.mark.parametrize("name", ["setup.exe", "song.mp3"])
def test_forbidden_documents_are_refused(desk: Desk, name: str) -> None:
    assert put(doc_url(desk), "file", (name, b"MZ", "application/octet-stream"))["error"] == "no_file"


def test_a_document_in_a_wrong_field_is_no_file(desk: Desk) -> None:
    assert put(doc_url(desk), "photo", ("a.txt", b"x", "text/plain"))["error"] == "no_file"
    assert desk.code("docs.save", file="1|2|3|4") == 105


def test_a_voice_message_must_be_ogg_and_is_attached_as_a_doc(desk: Desk) -> None:
    assert "error" in put(doc_url(desk, "audio_message"), "file", ("v.ogg", b"RIFF", "audio/ogg"))
    answer = put(doc_url(desk, "audio_message"), "file", ("v.ogg", samples.ogg(4), "audio/ogg"))
    saved = desk.ok("docs.save", **answer)
    voice = saved["audio_message"]
    assert (saved["type"], voice["duration"]) == ("audio_message", 4)
    desk.send("", attachment=f"doc{voice['owner_id']}_{voice['id']}_{voice['access_key']}")
    assert desk.ledger("message")[-1]["attachments"][0]["type"] == "audio_message"


def test_media_of_another_community_cannot_be_attached(desk: Desk, base: str) -> None:
    other = Desk(base)
    saved = other.ok("photos.saveMessagesPhoto", **put(photo_url(other) if other.say("hi") else "", "photo", PHOTO))[0]
    name = f"photo{saved['owner_id']}_{saved['id']}_{saved['access_key']}"
    assert desk.code("messages.send", peer_id=USER, random_id=0, attachment=name) == 100


def test_what_customers_send_can_be_downloaded(desk: Desk) -> None:
    desk.say(attachments=[{"type": "photo"}, {"type": "doc"}, {"type": "voice"}])
    photo, doc, voice = desk.ok("messages.getHistory", peer_id=USER, count=1)["items"][0]["attachments"]
    sizes = [(one["width"] * one["height"]) for one in photo["photo"]["sizes"]]
    assert sizes != sorted(sizes), "the order of sizes must not be by size"
    for size in photo["photo"]["sizes"]:
        content = requests.get(size["url"], timeout=5).content
        assert samples.image_size(content) == (size["width"], size["height"])
    file = requests.get(doc["doc"]["url"], timeout=5)
    assert len(file.content) == doc["doc"]["size"] and file.headers["Content-Type"] == "application/pdf"
    assert requests.get(voice["audio_message"]["link_ogg"], timeout=5).content.startswith(b"OggS")
    assert requests.get(voice["audio_message"]["link_mp3"], timeout=5).content.startswith(b"\xff\xfb")


def test_a_portrait_can_be_downloaded_also_after_a_reset(desk: Desk) -> None:
    desk.control("reset")
    photo = desk.ok("users.get", user_ids=USER, fields="photo_200")[0]["photo_200"]
    assert requests.get(photo, timeout=5).status_code == 200


def test_everything_back_to_the_seed_keeps_the_printed_credentials() -> None:
    with start(["--only", "vk"]) as running:
        vk = running.addresses["vk"]
        again = requests.post(f"{vk['base_url']}/_sandbox/reset", json={"all": True}, timeout=5).json()
    assert {key: again[key] for key in vk} == vk


def test_a_file_of_the_customers_own_is_passed_on_unchanged(desk: Desk) -> None:
    file = {"file": ("смета.txt", io.BytesIO("итого 500".encode()), "text/plain")}
    key = requests.post(f"{desk.base}/phone/files?network=vk", files=file, timeout=5).json()["file"]
    desk.say(attachments=[{"type": "doc", "file": key}])
    doc = desk.ok("messages.getHistory", peer_id=USER, count=1)["items"][0]["attachments"][0]["doc"]
    assert doc["title"] == "смета.txt" and requests.get(doc["url"], timeout=5).content.decode() == "итого 500"
