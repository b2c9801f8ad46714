"""Attachments are kept whole, apart by account, and given out so that nothing of them runs."""

import io
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

from widget_backend import clock, crypto, files, problems
from widget_backend.files import FileTooLarge, Store, Stored

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 50
ACCOUNT = uuid4()
TEMPLATES = Path(problems.__file__).parent.parent / "widget_frontend" / "pages" / "templates"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    ring, before = crypto._ring, files._store
    crypto.configure(crypto.KeyRing.of([("k", b"k" * 32)]))
    made = Store(tmp_path / "files", "https://mostik.example/")
    files.configure(made)
    yield made
    crypto._ring, files._store = ring, before


@pytest.fixture
def client(store: Store) -> FlaskClient:
    app = Flask("files", template_folder=str(TEMPLATES))
    problems.register(app)
    app.register_blueprint(files.blueprint)
    return app.test_client()


def put(store: Store, content: bytes, *, account: UUID = ACCOUNT, max_bytes: int = 1000, name: str = "") -> Stored:
    with store.incoming(account, max_bytes=max_bytes, name=name) as incoming:
        for place in range(0, len(content), 7):
            incoming.write(content[place : place + 7])
    return incoming.stored


def path_of(link: str) -> str:
    assert link.startswith("https://mostik.example/files/")
    return urlsplit(link).path


def everything(tmp_path: Path) -> list[Path]:
    return [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_file_is_kept_once_by_its_content(store: Store, tmp_path: Path) -> None:
    one, two = put(store, PNG), put(store, PNG)
    assert one == two and (one.bytes_count, one.content_type) == (len(PNG), "image/png")
    assert len(everything(tmp_path)) == 1
    with store.open(ACCOUNT, one.sha256) as file:
        assert file.read() == PNG
    store.delete(ACCOUNT, one.sha256)
    store.delete(ACCOUNT, one.sha256)
    with pytest.raises(problems.NotFound):
        store.open(ACCOUNT, one.sha256)


def test_another_account_has_not_the_file(store: Store) -> None:
    stored = put(store, PNG)
    with pytest.raises(problems.NotFound):
        store.path(uuid4(), stored.sha256)
    for wrong in ("../x", "A" * 64, stored.sha256 + "\n", f"../{ACCOUNT}/{stored.sha256}"):
        with pytest.raises(problems.NotFound):
            store.path(ACCOUNT, wrong)


def test_of_a_file_that_fails_nothing_remains(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileTooLarge):
        put(store, b"x" * 1001)
    assert everything(tmp_path) == []
    with store.incoming(ACCOUNT, max_bytes=10) as incoming, pytest.raises(RuntimeError):
        _ = incoming.stored


def test_a_link_gives_the_file_harmlessly(store: Store, client: FlaskClient) -> None:
    stored = put(store, PNG)
    answer = client.get(path_of(store.link(ACCOUNT, stored.sha256, "../фото кота.png")))
    assert (answer.status_code, answer.data, answer.mimetype) == (200, PNG, "image/png")
    assert answer.headers["Content-Disposition"].startswith("inline")
    assert (
        "%D1%84%D0%BE%D1%82%D0%BE" in answer.headers["Content-Disposition"]
        and ".." not in answer.headers["Content-Disposition"]
    )
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("sandbox;")


@pytest.mark.parametrize(
    "content",
    [b"<html><script>alert(1)</script>", b'<?xml version="1.0"?><svg onload="alert(1)"/>', b"  <!-- x --><body>"],
)
def test_markup_is_downloaded_and_never_shown(store: Store, client: FlaskClient, content: bytes) -> None:
    stored = put(store, content)
    answer = client.get(path_of(store.link(ACCOUNT, stored.sha256, "photo.png")))
    assert answer.mimetype == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")


def test_parts_of_a_file_can_be_had(store: Store, client: FlaskClient) -> None:
    path = path_of(store.link(ACCOUNT, put(store, PNG).sha256))
    part = client.get(path, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.data) == (206, b"PNG")
    assert client.head(path).content_length == len(PNG)
    etag = client.get(path).headers["ETag"]
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304


def test_a_link_ends_and_cannot_be_forged(store: Store, client: FlaskClient) -> None:
    stored = put(store, PNG)
    path = path_of(store.link(ACCOUNT, stored.sha256, ttl=timedelta(minutes=5)))
    with clock.shifted(timedelta(minutes=5)):
        assert client.get(path).status_code == 410
    assert client.get(path[:-3] + "AAA").status_code == 404
    other = crypto.sign({"a": ACCOUNT.hex, "s": stored.sha256, "n": ""}, "invite", timedelta(minutes=5))
    assert client.get(f"/files/{other}").status_code == 404
    store.delete(ACCOUNT, stored.sha256)
    assert client.get(path).status_code == 404


def test_sweep_removes_what_is_old_and_unused(store: Store, tmp_path: Path) -> None:
    used, unused = put(store, b"used"), put(store, b"unused")
    left = tmp_path / "files" / "incoming" / "left"
    left.write_bytes(b"half")

    def sweep() -> int:
        return store.sweep(lambda account, sha: (account, sha) == (ACCOUNT, used.sha256), older_than=timedelta(days=1))

    assert sweep() == 0
    with clock.shifted(timedelta(days=2)):
        assert sweep() == 2
    assert [path.name for path in everything(tmp_path)] == [used.sha256]
    store.forget(ACCOUNT)
    store.forget(ACCOUNT)
    assert everything(tmp_path) == [] and unused.sha256 != used.sha256


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", "b")
    return file.getvalue()


@pytest.mark.parametrize(
    ("head", "name", "kind"),
    [
        (b"\xff\xd8\xff\xe0", "x.png", "image/jpeg"), (b"GIF89a", "", "image/gif"), (b"RIFF\0\0\0\0WEBP", "", "image/webp"),
        (b"%PDF-1.7", "", "application/pdf"), (b"OggS\0\x02OpusHead", "", "audio/ogg"), (b"ID3\x03", "", "audio/mpeg"),
        (b"\xff\xfb\x90", "", "audio/mpeg"), (b"\0\0\0 ftypisom", "", "video/mp4"), (b"\0\0\0 ftypM4A ", "", "audio/mp4"),
        (b"\x1aE\xdf\xa3", "", "video/webm"), (zipped(), "a.zip", "application/zip"), (zipped(), "Договор.DOCX", files._OFFICE["docx"]),
        ("привет".encode(), "a.exe", "text/plain"), (("я" * 5000).encode()[:4095] + b"\xd1", "", "text/plain"),
        (b"<!DOCTYPE html>", "a.png", "text/html"), (b"", "a.png", "application/octet-stream"),
        (b"\0\x01\x02\x03" * 9, "a.png", "application/octet-stream"),
    ],
)  # fmt: skip
def test_the_type_is_judged_by_content(head: bytes, name: str, kind: str) -> None:
    assert files.content_type(head, name) == kind


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("../../etc/passwd", "passwd"), ("C:\\Users\\a.txt", "a.txt"), ("a\r\nX: y.txt", "aX: y.txt"), (" .. ", ""),
        ("gpj\u202e.exe", "gpj.exe"), ("я" * 300 + ".docx", "я" * 115 + ".docx"), ("ё" * 300, "ё" * 120),
    ],
)  # fmt: skip
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert files.safe_name(name) == safe
