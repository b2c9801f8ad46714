"""What the settings of an amoCRM connection make of a client: contact, deal, task; and what is told when a setting no longer holds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.bridge.amocrm import Office, make_office
from tests.bridge.pair import new_user
from tests.stack import Json, Stack, wait_for
from widget_backend.bridge import life, registry, setup
from widget_backend.bridge.ends import PullRequest
from widget_backend.crms.amocrm import client_sources as sources

GONE_ID = 99_999_999


@pytest.fixture
def office(stack: Stack) -> Office:
    """Give a company that works in amoCRM."""
    return make_office(stack)


def asked(office: Office, text: str = "вопрос") -> int:
    """Let a new customer ask something; return who he is once amoCRM has it."""
    user = new_user()
    office.customer(user, text=text)
    office.wait_status(text, office.connection_id, "delivered")
    return user


def stages(office: Office) -> dict[str, str]:
    """Return the stages of the main pipeline as the settings name them, by their names."""
    pipeline = office.made["account"]["pipelines"][0]
    return {one["name"]: f"{pipeline['id']}:{one['id']}" for one in pipeline["statuses"]}


def link_of(office: Office) -> Json:
    """Return what the only conversation remembers of this connection."""
    rows = office.rows("select state, card, contact from links where connection_id = :id", id=office.connection_id)
    assert len(rows) == 1
    return {**rows[0].state, "card": rows[0].card, "contact": rows[0].contact}


def pull_now(office: Office) -> None:
    """Let the hourly pull be due."""
    office.change("update gates set pull_at = now() where end_id = :id", id=office.connection_id)


def told(office: Office) -> list[str]:
    """Return what the admin is told on the page of the connection."""
    notices = life.snapshot(office.account_id, office.connection_id).settings.get("notices", [])
    assert isinstance(notices, list)
    return notices


def only(found: list[Json]) -> Json:
    """Return the only one."""
    assert len(found) == 1, found
    return found[0]


def value_of(entity: Json, **field: object) -> list[object]:
    """Return what stands in a field of an entity."""
    fields = entity["custom_fields_values"] or []
    name, wanted = next(iter(field.items()))
    return [value["value"] for one in fields if one[name] == wanted for value in one["values"]]


# ------------------------------------------------------------------------------------------------------- unsorted


def test_unsorted_conversation_is_found_in_the_card_that_amocrm_made(office: Office) -> None:
    office.settings(stage="unsorted")

    asked(office)

    contact, lead = only(office.entities("contacts")), only(office.entities("leads"))
    link = wait_for(lambda: (found := link_of(office))["contact"] and found)
    assert (link["contact"], link["card"]) == (f"contact:{contact['id']}", f"lead:{lead['id']}")
    assert office.rest("leads/unsorted"), "amoCRM made it by itself"


def test_task_is_set_for_an_unsorted_deal_too(office: Office) -> None:
    office.settings(stage="unsorted", task="deal")

    user = asked(office)
    office.customer(user, text="ещё")
    office.wait_status("ещё", office.connection_id, "delivered")

    assert [one["entity_id"] for one in office.entities("tasks")] == [only(office.entities("leads"))["id"]]


def test_unsorted_conversation_that_could_not_be_asked_for_is_found_by_the_pull(office: Office) -> None:
    office.settings(stage="unsorted")
    asked(office)
    facts = "state - 'contact' - 'card' - 'chat'"
    office.change(f"update links set state = {facts} where connection_id = :id", id=office.connection_id)
    assert not link_of(office)["contact"]

    pull_now(office)

    wait_for(lambda: link_of(office)["contact"], within_s=30, what="the contact")
    assert link_of(office)["card"] == f"lead:{only(office.entities('leads'))['id']}"


def test_later_messages_of_an_unsorted_conversation_cost_their_own_call_only(office: Office) -> None:
    office.settings(stage="unsorted")
    user = asked(office)
    before = len(office.calls("amocrm"))

    office.customer(user, text="ещё")
    office.wait_status("ещё", office.connection_id, "delivered")

    assert len(office.calls("amocrm")) == before


# ---------------------------------------------------------------------------------------------- what is written where


@pytest.mark.parametrize("mode", ["chats", "notes"])
def test_names_tags_responsible_and_profile_link_are_as_the_settings_say(office: Office, mode: str) -> None:
    field = office.rest_post("contacts/custom_fields", [{"type": "url", "name": "ВКонтакте"}])
    field_id = field["_embedded"]["custom_fields"][0]["id"]
    anna = office.made["account"]["users"][1]["id"]
    office.settings(
        mode=mode,
        deal_name="%NAME%: %IDENTITY% (%SOURCE%)",
        contact_name="%NAME% из %DOMAIN%",
        deal_tags="Mostik, %CHANNEL%",
        contact_tags="клиент %IDENTITY%",
        responsible=str(anna),
        profile_field=str(field_id),
        stage=stages(office)["Переговоры"],
    )

    user = asked(office)

    contact, lead = only(office.entities("contacts")), only(office.entities("leads"))
    name = office.rows("select name from clients")[0].name
    source = office.rows("select title from ends where id = :id", id=office.channel_id)[0].title
    assert lead["name"] == f"{name}: {user} ({source})"
    assert contact["name"] == f"{name} из vk.com"
    assert {one["name"] for one in lead["_embedded"]["tags"]} == {"Mostik", "личные сообщения"}
    assert {one["name"] for one in contact["_embedded"]["tags"]} == {f"клиент {user}"}
    assert lead["responsible_user_id"] == contact["responsible_user_id"] == anna
    assert value_of(contact, field_id=field_id) == [f"https://vk.com/id{user}"]
    assert f"{lead['pipeline_id']}:{lead['status_id']}" == stages(office)["Переговоры"]


def test_task_asks_the_responsible_to_answer_in_time(office: Office) -> None:
    anna = office.made["account"]["users"][1]["id"]
    office.settings(task="deal", task_minutes=7, responsible=str(anna))

    asked(office)

    task = only(office.entities("tasks"))
    assert task["responsible_user_id"] == anna
    assert task["complete_till"] - task["created_at"] in range(7 * 60 - 5, 7 * 60 + 6)
    assert "Ответить" in task["text"]


def test_task_is_set_for_each_message_where_that_is_wanted(office: Office) -> None:
    office.settings(task="message")
    user = new_user()

    office.customer_in_turn(user, {"text": "раз"}, {"text": "два"}, {"text": "три"})
    office.wait_status("три", office.connection_id, "delivered")

    wait_for(lambda: len(office.entities("tasks")) == 3, what="three tasks")
    assert len(office.entities("leads")) == 1


# ---------------------------------------------------------------------------------------------- what is gone


@pytest.mark.parametrize(
    ("setting", "value", "notice"),
    [
        ("stage", f"{GONE_ID}:{GONE_ID}", "amocrm_stage_gone"),
        ("responsible", str(GONE_ID), "amocrm_responsible_gone"),
        ("profile_field", str(GONE_ID), "amocrm_field_gone"),
    ],
)
def test_what_is_gone_costs_only_itself_and_the_admin_is_told(
    office: Office, setting: str, value: str, notice: str
) -> None:
    anna = str(office.made["account"]["users"][1]["id"])
    office.settings(**{"responsible": anna, "stage": stages(office)["Переговоры"], setting: value})

    user = asked(office)
    pull_now(office)

    lead, contact = only(office.entities("leads")), only(office.entities("contacts"))
    admin = office.made["account"]["users"][0]["id"]
    first = stages(office)["Первичный контакт"]
    wanted_stage = first if setting == "stage" else stages(office)["Переговоры"]
    assert f"{lead['pipeline_id']}:{lead['status_id']}" == wanted_stage
    assert lead["responsible_user_id"] == (admin if setting == "responsible" else int(anna))
    assert contact["name"]
    assert office.seen(user) == ["вопрос"]
    wait_for(lambda: told(office) == [notice], within_s=30, what="the notice")
    assert notice in setup.connect(office.account_id, office.connection_id, actor="test")


def test_deleted_stage_of_a_working_connection_is_told(office: Office) -> None:
    chosen = stages(office)["Переговоры"]
    office.settings(stage=chosen)
    pull_now(office)
    office.wait_quiet()
    assert told(office) == []

    office.act("stage", id=int(chosen.partition(":")[2]), gone=True)
    pull_now(office)

    wait_for(lambda: told(office) == ["amocrm_stage_gone"], within_s=30, what="the notice")


def test_new_stage_counts_as_open_and_is_told_until_the_next_connect(office: Office) -> None:
    user = asked(office)
    made = office.act("stage", name="Думает")
    lead = only(office.entities("leads"))["id"]
    office.act("move", lead=lead, status_id=made["id"])

    pull_now(office)

    wait_for(lambda: told(office) == ["amocrm_stage_new"], within_s=30, what="the notice")
    office.settings(mode="notes")
    office.customer(user, text="снова")
    office.wait_status("снова", office.connection_id, "delivered")
    assert len(office.entities("leads")) == 1, "the deal is open"
    setup.connect(office.account_id, office.connection_id, actor="test")
    assert told(office) == []


# ---------------------------------------------------------------------------------------------- by channel


def test_stage_and_responsible_of_a_channel_hold_before_those_of_the_connection(office: Office) -> None:
    admin, anna = (one["id"] for one in office.made["account"]["users"][:2])
    office.settings(stage=stages(office)["Переговоры"], responsible=str(admin))
    own = {"stage": stages(office)["Принимают решение"], "responsible": str(anna)}
    life.join(office.account_id, office.channel_id, office.connection_id, **own)

    asked(office)

    lead = only(office.entities("leads"))
    assert f"{lead['pipeline_id']}:{lead['status_id']}" == own["stage"]
    assert lead["responsible_user_id"] == only(office.entities("contacts"))["responsible_user_id"] == anna


def test_channels_above_the_limit_of_sources_share_one_and_the_admin_is_told(office: Office) -> None:
    pipeline = office.made["account"]["pipelines"][0]["id"]
    full = [
        {"name": f"{n}", "external_id": f"x{n}", "pipeline_id": pipeline}
        for n in range(sources.LIMIT - sources.RESERVE)
    ]
    for start in range(0, len(full), 50):
        office.rest_post("sources", full[start : start + 50])

    user = asked(office)
    pull_now(office)

    ids = [one["external_id"] for one in office.rest("sources")["_embedded"]["sources"]]
    assert ids[-1] == "shared-vk"
    assert office.seen(user) == ["вопрос"]
    wait_for(lambda: told(office) == ["amocrm_sources_shared"], within_s=30, what="the notice")


def test_pull_says_nothing_twice(office: Office) -> None:
    office.settings(responsible=str(GONE_ID), known_stages=[])
    asked(office)
    pull_now(office)
    wait_for(lambda: told(office), within_s=30, what="the notice")

    adapter = registry.adapter(life.snapshot(office.account_id, office.connection_id))
    assert not adapter.pull(PullRequest(since=datetime.now(UTC), cursor={}, conversations=())).raws
