"""Shared quick replies among amoCRM's chat templates: made, changed and deleted with ours; what others made there stays."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from jobs import schedules
from tests.bridge.amocrm import Office, make_office
from tests.stack import Json, Stack, wait_for
from widget_backend.bridge import quick_replies, quick_replies_offered
from widget_backend.bridge.errors import Rejected, Retry
from widget_backend.bridge.quick_replies import Template
from widget_backend.crms.amocrm.adapter import AmoCrm


@pytest.fixture
def office(stack: Stack) -> Office:
    """Give a company that works in amoCRM."""
    return make_office(stack)


def templates(office: Office) -> dict[str, str]:
    """Return what amoCRM's own picker would offer: texts by name."""
    found: list[Json] = office.rest("chats/templates").get("_embedded", {}).get("chat_templates", [])
    return {one["name"]: one["content"] for one in found}


def test_shared_replies_stand_in_amocrms_picker_within_a_minute(office: Office) -> None:
    quick_replies.create(office.account_id, Template(title="цена", text="%CONTACT_NAME%, цена 5, сделка %DEAL_ID%"))
    quick_replies.create(office.account_id, Template(title="precio", text="Cuesta 5 %OFF%", language="es"))
    quick_replies.create(office.account_id, Template(title="моё", text="личное", owner="user:1"))
    quick_replies.create(office.account_id, Template(title="этап", text="Ваш этап: %DEAL_STATUS%"))
    wait_for(lambda: templates(office), within_s=70, what="the templates")
    assert templates(office) == {
        "цена": "{{contact.name}}, цена 5, сделка {{lead.id}}",
        "precio (es)": "Cuesta 5 %OFF%",
    }


def test_change_and_deletion_follow_and_foreign_templates_stay(office: Office) -> None:
    foreign = [{"name": "чужой", "content": "не трогать", "external_id": "qr-1", "type": "amocrm"}]
    office.rest("account")  # gets the token
    url = f"{office.stack.peers['amocrm']['account_url'].replace('{host}', office.host)}/api/v4/chats/templates"
    made = requests.post(url, json=foreign, headers={"Authorization": f"Bearer {office._token}"}, timeout=10)
    assert made.ok, made.text
    kept = quick_replies.create(office.account_id, Template(title="адрес", text="Мира, 1"))
    gone = quick_replies.create(office.account_id, Template(title="часы", text="9-18"))
    schedules.write_replies()
    assert templates(office) == {"чужой": "не трогать", "адрес": "Мира, 1", "часы": "9-18"}

    quick_replies.change(office.account_id, kept.id, Template(title="адрес", text="Мира, 2"))
    quick_replies.delete(office.account_id, gone.id)
    schedules.write_replies()
    assert templates(office) == {"чужой": "не трогать", "адрес": "Мира, 2"}
    before = len(office.calls("amocrm"))
    schedules.write_replies()
    wrote = [one for one in office.calls("amocrm")[before:] if "templates" in one["method"]]
    assert not wrote, "nothing has changed"


def test_many_go_in_few_calls(office: Office) -> None:
    for number in range(120):
        quick_replies.create(office.account_id, Template(title=f"ответ {number}", text=str(number)))
    account = (office.account_id, office.connection_id)
    quick_replies_offered.write(*account)
    posts = [one for one in office.calls("amocrm") if one["method"] == "POST chats/templates"]
    assert len(posts) <= 4
    quick_replies_offered.write(*account)
    assert len([one for one in office.calls("amocrm") if one["method"] == "POST chats/templates"]) == len(posts)


def test_trouble_is_tried_again_later_and_a_refusal_only_when_something_changes(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[Any] = []
    trouble: Any = Retry("unreachable")

    def fail(_self: AmoCrm, _replies: object) -> None:
        tries.append(trouble)
        raise trouble

    monkeypatch.setattr(AmoCrm, "write_quick_replies", fail)
    ours = (office.account_id, office.connection_id)
    quick_replies.create(office.account_id, Template(title="а", text="а"))
    assert ours in quick_replies_offered.due()
    quick_replies_offered.write(*ours)
    assert ours not in quick_replies_offered.due(), "left alone for a minute"
    quick_replies_offered._forget_rest(office.connection_id)
    assert ours in quick_replies_offered.due()

    trouble = Rejected("amocrm_argument", "Limit of templates is reached")
    quick_replies_offered.write(*ours)
    assert ours not in quick_replies_offered.due()
    quick_replies.create(office.account_id, Template(title="б", text="б"))
    assert ours in quick_replies_offered.due()
