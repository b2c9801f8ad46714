"""Quick replies: kept by an account or a person, found as one types, filled with the facts of a card, bounded."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sandbox import samples
from tests.stack import Json, Stack
from widget_backend.accounts import keys
from widget_backend.bridge import quick_replies, substitutions
from widget_backend.bridge.ends import Card
from widget_backend.bridge.quick_replies import Spot, Template, TooManyReplies, Wanted


@pytest.fixture
def account_id(stack: Stack) -> UUID:
    """Give an account of its own."""
    return stack.make_account()


def call(
    stack: Stack, account_id: UUID, method: str, path: str, *, role: str = "admin", **given: Any
) -> requests.Response:
    key = keys.issue(account_id, title="program", role=role, actor="test")
    headers = {"Authorization": f"Bearer {key}", "Accept-Language": "ru"}
    return requests.request(method, f"{stack.url}/api/v1{path}", headers=headers, timeout=30, **given)


def titles(account_id: UUID, **wanted: Any) -> list[str]:
    return [row.title for row in quick_replies.found(account_id, Wanted(**wanted))[0]]


def keep(account_id: UUID, *templates: Template) -> None:
    for template in templates:
        quick_replies.create(account_id, template)


def test_what_begins_with_the_typed_words_comes_first(account_id: UUID) -> None:
    keep(
        account_id,
        Template(title="Оплата", text="Реквизиты"),
        Template(title="Цена и оплата", text="500 ₽"),
        Template(title="Адрес", text="Принимаем оплату на месте"),
        Template(title="Привет", text="Здравствуйте"),
    )
    assert titles(account_id, query="оплат") == ["Оплата", "Цена и оплата", "Адрес"]
    assert titles(account_id, query="ОПЛАТА") == ["Оплата", "Цена и оплата"]
    assert titles(account_id) == ["Адрес", "Оплата", "Привет", "Цена и оплата"]
    assert titles(account_id, query="100%") == []


def test_personal_ones_are_the_owners_and_languages_keep_apart(account_id: UUID) -> None:
    keep(
        account_id,
        Template(title="общий"),
        Template(title="мой", owner="5"),
        Template(title="чужой", owner="6"),
        Template(title="hello", language="en"),
    )
    assert titles(account_id, owner="5") == ["hello", "мой", "общий"]
    assert titles(account_id, language="ru") == ["общий"]
    assert titles(account_id, owner="6", language="en") == ["hello", "общий", "чужой"]


def test_pages_lose_and_double_nothing(account_id: UUID) -> None:
    names = ["a", "a b", "a|b", "А", "б", "яблоко", "a"]
    keep(account_id, *(Template(title=name) for name in names))
    seen: list[str] = []
    after: Spot | None = None
    while True:
        rows, after = quick_replies.found(account_id, Wanted(limit=2, after=after))
        seen += [row.title for row in rows]
        if after is None:
            break
        after = Spot.decode(after.encode())
    assert sorted(seen) == sorted(names)


def test_facts_take_the_place_of_their_names(account_id: UUID) -> None:
    row = quick_replies.create(
        account_id,
        Template(
            title="счёт",
            text="%CONTACT_NAME%, счёт по «%DEAL_NAME%» на %DEAL_BUDGET%. %USER_NAME%. Скидка 10%, %ЧТО%, %FOO%",
        ),
    )
    card = Card(kind="lead", id="1", title="x", fields={"CONTACT_NAME": "Анна", "DEAL_NAME": "Кружки"})
    rendered = quick_replies.render(row, card, {"USER_NAME": "Иван"})
    assert rendered.text == "Анна, счёт по «Кружки» на . Иван. Скидка 10%, %ЧТО%, %FOO%"
    assert rendered.missing == ("DEAL_BUDGET",)


@settings(max_examples=200, deadline=None)
@given(
    st.text(alphabet="%AZ_9а ", max_size=60),
    st.dictionaries(st.sampled_from(sorted(substitutions.NAMES)), st.text(max_size=10)),
)
def test_filling_never_fails_and_fills_but_once(template: str, facts: dict[str, str]) -> None:
    filled = substitutions.fill(template, facts)
    assert filled.missing == () or all(name in substitutions.NAMES for name in filled.missing)
    if "%" not in template:
        assert filled.text == template
    assert substitutions.fill("%NAME%", {"NAME": "%CHANNEL%", "CHANNEL": "x"}).text == "%CHANNEL%"


def test_there_are_only_so_many(account_id: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quick_replies, "PERSONAL_LIMIT", 2)
    keep(account_id, *(Template(title=str(number), owner="5") for number in range(2)))
    with pytest.raises(TooManyReplies):
        keep(account_id, Template(title="3", owner="5"))
    keep(account_id, Template(title="3", owner="6"), Template(title="3"))


def test_programs_keep_change_and_fill_them(stack: Stack, account_id: UUID) -> None:
    price = samples.pdf()
    file = call(stack, account_id, "POST", "/files", params={"name": "прайс.pdf"}, data=price).json()
    given = {"title": "прайс", "text": "%NAME%, вот прайс", "files": [file["file"]], "language": "ru"}
    made: Json = call(stack, account_id, "POST", "/quick-replies", json=given).json()
    assert [one["name"] for one in made["files"]] == ["прайс.pdf"]
    path = f"/quick-replies/{made['id']}"
    shown = call(stack, account_id, "POST", f"{path}/render", json={"facts": {"NAME": "Анна"}}).json()
    assert (shown["text"], shown["missing"], len(shown["files"])) == ("Анна, вот прайс", [], 1)
    change = {**given, "text": "Вот прайс", "files": [made["files"][0]["file"]]}
    changed = call(stack, account_id, "PUT", path, json=change).json()
    assert (changed["text"], changed["files"][0]["size_bytes"]) == ("Вот прайс", len(price))
    found = call(stack, account_id, "GET", "/quick-replies", params={"query": "прай"}).json()
    assert [one["id"] for one in found["items"]] == [made["id"]]
    stranger = stack.make_account()
    for method, more in (("GET", {}), ("DELETE", {}), ("PUT", {"json": change})):
        assert call(stack, stranger, method, path, **more).status_code == 404  # type: ignore[arg-type]
    assert call(stack, account_id, "DELETE", path).status_code == 204
    assert call(stack, account_id, "GET", path).status_code == 404


def test_shared_ones_are_the_admins_affair(stack: Stack, account_id: UUID) -> None:
    shared, own = {"title": "общий"}, {"title": "мой", "owner": "5"}
    assert call(stack, account_id, "POST", "/quick-replies", role="manager", json=shared).status_code == 403
    assert call(stack, account_id, "POST", "/quick-replies", role="reader", json=own).status_code == 403
    assert call(stack, account_id, "POST", "/quick-replies", role="manager", json=own).status_code == 201
    made = call(stack, account_id, "POST", "/quick-replies", json=shared).json()
    path = f"/quick-replies/{made['id']}"
    assert call(stack, account_id, "PUT", path, role="manager", json=shared).status_code == 403
    assert call(stack, account_id, "DELETE", path, role="manager").status_code == 403


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"title": ""},
        {"title": "x" * 121},
        {"title": "x", "text": "x" * 10_001},
        {"title": "x", "files": ["x"] * 11},
    ],
)
def test_what_is_too_much_or_too_little_is_refused(stack: Stack, account_id: UUID, given: Json) -> None:
    assert call(stack, account_id, "POST", "/quick-replies", json=given).status_code == 422


def test_every_fact_has_a_label(stack: Stack, account_id: UUID) -> None:
    items = call(stack, account_id, "GET", "/quick-replies/fields").json()["items"]
    assert {one["name"] for one in items} == substitutions.NAMES
    assert items[0] == {"name": "DEAL_ID", "label": "ID сделки", "group": "Сделка"}


def test_a_wrong_cursor_is_refused(stack: Stack, account_id: UUID) -> None:
    for cursor in ("x", "WzFd", "bnVsbA=="):
        answer = call(stack, account_id, "GET", "/quick-replies", params={"cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_cursor")
