"""Sealed values open only with a key of the ring and in their own place; tokens expire; secrets do not show."""

import copy
import json
import pickle
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, LargeBinary, create_engine, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from widget_backend import clock, crypto
from widget_backend.crypto import BadToken, CryptoError, KeyRing, Place, Secret

OLD, NEW = ("old", b"o" * 32), ("new", b"n" * 32)


class Base(DeclarativeBase):
    pass


class Shelf(Base):
    __tablename__ = "shelf"
    id: Mapped[UUID] = mapped_column(primary_key=True)
    note: Mapped[str | None] = mapped_column(crypto.EncryptedText("shelf.note"))
    other: Mapped[str | None] = mapped_column(crypto.EncryptedText("shelf.other"))
    raw: Mapped[bytes | None] = mapped_column(crypto.EncryptedBytes("shelf.raw"))
    json: Mapped[Any | None] = mapped_column(crypto.EncryptedJSON("shelf.json"))
    token_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    token = crypto.SealedText("token_sealed", Place("shelf.token", ("id",)))


@pytest.fixture(autouse=True)
def ring() -> Iterator[None]:
    before = crypto._ring
    crypto.configure(KeyRing.of([OLD]))
    yield
    crypto._ring = before


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def reason_of(error: pytest.ExceptionInfo[Any]) -> str:
    return str(error.value.reason)


def test_seal_opens_in_its_place_and_nowhere_else() -> None:
    sealed = crypto.seal_text("тайна", "channel.token:1")
    assert crypto.open_text(sealed, "channel.token:1") == "тайна"
    assert "тайна".encode() not in sealed
    with pytest.raises(CryptoError) as error:
        crypto.open_text(sealed, "channel.token:2")
    assert reason_of(error) == "broken"


def test_seal_twice_gives_different_bytes() -> None:
    assert crypto.seal(b"x", "a") != crypto.seal(b"x", "a")


def test_every_changed_byte_is_noticed() -> None:
    sealed = crypto.seal(b"secret", "a")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(CryptoError):
            crypto.open_sealed(bytes(changed), "a")
        with pytest.raises(CryptoError):
            crypto.open_sealed(sealed[:place], "a")


def test_rotate_keeps_the_value_and_uses_the_current_key() -> None:
    sealed = crypto.seal(b"x", "a")
    crypto.configure(KeyRing.of([NEW, OLD]))
    assert not crypto.is_current(sealed)
    fresh = crypto.rotate(sealed, "a")
    assert crypto.rotate(fresh, "a") is fresh
    crypto.configure(KeyRing.of([NEW]))
    assert crypto.open_sealed(fresh, "a") == b"x"
    with pytest.raises(CryptoError) as error:
        crypto.open_sealed(sealed, "a")
    assert reason_of(error) == "key_unknown"


@pytest.mark.parametrize("pairs", [[], [OLD, OLD], [("a", b"short")], [("", b"k" * 32)], [("я", b"k" * 32)]])
def test_a_bad_ring_is_refused(pairs: list[tuple[str, bytes]]) -> None:
    with pytest.raises(CryptoError):
        KeyRing.of(pairs)


def test_secret_never_shows_itself() -> None:
    secret = Secret("hunter2")
    shown = f"{secret} {secret!r} {secret:>20} {[secret]} {KeyRing.of([OLD])!r}"
    assert "hunter2" not in shown and "oooo" not in shown
    assert secret.reveal() == "hunter2" and secret == Secret("hunter2") and secret != Secret("x") and not Secret("")
    for write in (pickle.dumps, json.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            write(secret)


def test_same_compares_texts_and_bytes() -> None:
    assert crypto.same("ключ", "ключ".encode())
    assert not crypto.same("a", "b")
    assert not crypto.same("\ud800", "b")


def test_columns_are_sealed_at_rest_and_read_back(engine: Engine) -> None:
    id = uuid4()
    with Session(engine) as session:
        session.add(Shelf(id=id, note="Анна", raw=b"\x00\xff", json={"a": [1, "б"]}, token=Secret("t0ken")))
        session.commit()
    with Session(engine) as session:
        row = session.get_one(Shelf, id)
        assert (row.note, row.other, row.raw, row.json) == ("Анна", None, b"\x00\xff", {"a": [1, "б"]})
        assert row.token.reveal() == "t0ken"
        stored = session.execute(text("select note, raw, json, token_sealed from shelf")).one()
    assert all(isinstance(value, bytes) and value[2:5] == b"old" for value in stored)
    assert not any("Анна".encode() in value or b"t0ken" in value for value in stored)


def test_a_value_moved_to_another_column_does_not_open(engine: Engine) -> None:
    with Session(engine) as session:
        session.add(Shelf(id=uuid4(), note="Анна"))
        session.commit()
        session.execute(text("update shelf set other = note"))
        with pytest.raises(CryptoError):
            session.scalars(select(Shelf.other)).all()


def test_a_secret_moved_to_another_row_does_not_open(engine: Engine) -> None:
    one, two = uuid4(), uuid4()
    with Session(engine) as session:
        session.add_all([Shelf(id=one, token=Secret("one")), Shelf(id=two, token=Secret("two"))])
        session.commit()
        session.get_one(Shelf, two).token_sealed = session.get_one(Shelf, one).token_sealed
        session.commit()
        with pytest.raises(CryptoError):
            assert session.get_one(Shelf, two).token


def test_a_secret_is_not_sealed_for_a_row_without_identity() -> None:
    with pytest.raises(CryptoError) as error:
        Shelf(token=Secret("x"))
    assert reason_of(error) == "row_unknown"


def test_rotate_column_seals_everything_anew(engine: Engine) -> None:
    table: Any = Shelf.__table__
    with engine.begin() as connection:
        rows = [{"id": uuid4(), "note": f"n{number}"} for number in range(5)]
        connection.execute(insert(Shelf), [*rows, {"id": uuid4(), "note": None}])
        for row in rows:
            sealed = crypto.seal_text("t", f"shelf.token:{row['id']}")
            connection.execute(table.update().where(table.c.id == row["id"]).values(token_sealed=sealed))
    crypto.configure(KeyRing.of([NEW, OLD]))
    with engine.begin() as connection:
        note, token = table.c.note, table.c.token_sealed
        counts = [crypto.rotate_column(connection, note, note.type.place, batch=3) for _ in range(3)]
        assert counts == [3, 2, 0]
        assert crypto.rotate_column(connection, token, Shelf.token.place) == 5
    crypto.configure(KeyRing.of([NEW]))
    with Session(engine) as session:
        shelves = session.scalars(select(Shelf).where(Shelf.note.is_not(None))).all()
        assert sorted(shelf.note or "" for shelf in shelves) == ["n0", "n1", "n2", "n3", "n4"]
        assert {shelf.token.reveal() for shelf in shelves} == {"t"}


def test_signed_token_carries_its_payload_for_one_purpose_and_time() -> None:
    token = crypto.sign({"who": "Анна", "n": 1}, "files", timedelta(minutes=5))
    assert crypto.unsign(token, "files") == {"who": "Анна", "n": 1}
    with pytest.raises(BadToken) as error:
        crypto.unsign(token, "invite")
    assert reason_of(error) == "forged"
    with clock.shifted(timedelta(minutes=5)), pytest.raises(BadToken) as error:
        crypto.unsign(token, "files")
    assert reason_of(error) == "expired"


def test_signed_token_outlives_a_rotation_and_not_its_key() -> None:
    token = crypto.sign({}, "files", timedelta(minutes=5))
    crypto.configure(KeyRing.of([NEW, OLD]))
    assert crypto.unsign(token, "files") == {}
    crypto.configure(KeyRing.of([NEW]))
    with pytest.raises(BadToken):
        crypto.unsign(token, "files")


@pytest.mark.parametrize("token", ["", "a", "a.b", "a.b.c", "я.я.я", "....", "a" * 5000, "\ud800.a.b", "a.b.c\n"])
def test_nonsense_is_not_a_token(token: str) -> None:
    with pytest.raises(BadToken):
        crypto.unsign(token, "files")


def test_a_changed_token_is_forged() -> None:
    token = crypto.sign({"id": 1}, "files", timedelta(minutes=5))
    for place in range(len(token) - 1):  # the last character carries padding bits that mean nothing
        with pytest.raises(BadToken):
            crypto.unsign(token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :], "files")
