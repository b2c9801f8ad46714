"""vk.md 5.1, 5.2: the form of requests and answers, token kinds, rights, the rate limit, execute."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.sandbox.run import start
from tests.unit.sandbox.vk_desk import USER, Desk


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with start(["--only", "vk"]) as running:
        yield running.addresses["vk"]["base_url"]


@pytest.fixture
def desk(base: str) -> Desk:
    return Desk(base)


def test_get_and_form_post_are_the_same(desk: Desk) -> None:
    params = {"v": "5.199", "access_token": desk.token, "user_ids": "1"}
    assert requests.get(f"{desk.base}/method/users.get", params=params, timeout=5).json() == {"response": []}
    assert desk.ok("users.get", user_ids=1) == []


def test_a_json_body_counts_as_no_parameters(desk: Desk) -> None:
    body = {"v": "5.199", "access_token": desk.token, "user_ids": "1"}
    answer = requests.post(f"{desk.base}/method/users.get", json=body, timeout=5)
    assert (answer.status_code, answer.json()["error"]["error_code"]) == (200, 8)


def test_version_is_required(desk: Desk) -> None:
    body = desk.call("users.get", v=None)
    assert body["error"]["error_msg"] == "Invalid request: v (version) is required"


def test_request_params_are_echoed_without_the_token(desk: Desk) -> None:
    error = desk.call("messages.send", peer_id=5, random_id=1, message="x")["error"]
    shown = {one["key"]: one["value"] for one in error["request_params"]}
    assert shown["peer_id"] == "5" and shown["method"] == "messages.send"
    assert desk.token not in str(error)


def test_the_token_may_come_in_the_header(desk: Desk) -> None:
    answer = requests.post(
        f"{desk.base}/method/groups.getById",
        data={"v": "5.199"},
        headers={"Authorization": f"Bearer {desk.token}"},
        timeout=5,
    )
    assert answer.json()["response"]["groups"][0]["id"] == desk.group_id


@pytest.mark.parametrize("token", ["", "vk1.a.wrong"])
def test_no_or_unknown_token_is_5(desk: Desk, token: str) -> None:
    assert desk.code("users.get", access_token=token) == 5


def test_a_revoked_token_is_5(desk: Desk) -> None:
    desk.control("faults", own={"revoke_token": desk.token})
    assert desk.code("groups.getById") == 5


def test_unknown_method_is_3_and_names_are_case_sensitive(desk: Desk) -> None:
    assert desk.code("messages.Send") == 3


def test_a_community_token_on_a_user_method_is_27(desk: Desk) -> None:
    assert [desk.code(name) for name in ("video.save", "photos.createComment", "wall.getComments")] == [27, 27, 27]


def test_a_missing_right_is_refused_and_the_mask_shows_it(base: str) -> None:
    desk = Desk(base, rights=["messages"])
    assert desk.ok("groups.getTokenPermissions") == {
        "mask": 4096,
        "permissions": [{"name": "messages", "setting": 4096}],
    }
    assert desk.code("photos.getMessagesUploadServer", peer_id=0) == 15
    assert desk.code("groups.getCallbackServers", group_id=desk.group_id) == 15
    assert Desk(base, rights=["manage"]).code("messages.getConversations") == 7


def test_another_community_is_not_ours(base: str, desk: Desk) -> None:
    assert desk.code("groups.getCallbackServers", group_id=Desk(base).group_id) == 15


def test_the_21st_call_within_a_second_is_6_and_is_counted(desk: Desk) -> None:
    began = time.monotonic()
    with ThreadPoolExecutor(12) as pool:
        codes = list(pool.map(lambda _: desk.code("groups.getById"), range(26)))
    assert time.monotonic() - began < 1
    assert (codes.count(0), codes.count(6)) == (20, 6)
    time.sleep(1.05)
    assert desk.code("groups.getById") == 0
    limits = requests.get(f"{desk.base}/_sandbox/limits", timeout=5).json()["tokens"]
    assert [one["exceeded"] for one in limits if one["account"] == str(desk.group_id)] == [6]


def test_faults_have_vks_shape(desk: Desk) -> None:
    desk.control("faults", rate_limit=True)
    codes = [desk.code("groups.getById")]
    desk.control("faults", rate_limit=False, error_rate=1)
    codes.append(desk.code("groups.getById"))
    desk.control("faults", error_rate=0, expire_tokens=True)
    codes.append(desk.code("groups.getById"))
    desk.control("faults", expire_tokens=False, outage=True)
    assert requests.get(f"{desk.base}/method/users.get", timeout=5).status_code == 503
    desk.control("faults", outage=False)
    assert codes == [6, 10, 5]


def test_faults_can_act_on_one_community_alone(base: str, desk: Desk) -> None:
    desk.control("faults", only_account=str(desk.group_id), outage=True)
    other = Desk(base).code("groups.getById")
    status = requests.get(f"{base}/method/users.get", params={"access_token": desk.token}, timeout=5).status_code
    desk.control("faults", only_account="", outage=False)
    assert (other, status) == (0, 503)


def test_execute_runs_several_calls_as_one(desk: Desk) -> None:
    desk.say("hi")
    code = """
        var who = API.users.get({"user_ids": [%d]})@.id;
        return [API.messages.send({peer_id: who[0], random_id: 5, message: 'it\\'s "fine"'}), API.messages.send({peer_id: 9})];
    """
    body = desk.call("execute", code=code % USER)
    assert body["response"] == [2, False]
    assert [(one["method"], one["error_code"]) for one in body["execute_errors"]] == [("messages.send", 100)]
    assert desk.ok("messages.getById", message_ids=2)["items"][0]["text"] == 'it\'s "fine"'


@pytest.mark.parametrize(
    ("code", "error"),
    [("return 1", 0), ("if (1) { return 1; }", 12), ("return [", 12), ("return x;", 12), ("", 100)],
)
def test_execute_says_what_it_does_not_play(desk: Desk, code: str, error: int) -> None:
    assert desk.code("execute", code=code) == error


def test_execute_takes_at_most_25_calls(desk: Desk) -> None:
    call = "API.users.get({user_ids:1})"
    assert desk.code("execute", code=f"return [{','.join([call] * 25)}];") == 0
    assert desk.code("execute", code=f"return [{','.join([call] * 26)}];") == 13


def test_users_get_drops_unknown_ids(desk: Desk) -> None:
    desk.say("hi")
    people = desk.ok("users.get", user_ids=f"{USER},999999999", fields="photo_200,city,sex,domain")
    assert [one["id"] for one in people] == [USER]
    assert requests.get(people[0]["photo_200"], timeout=5).content.startswith(b"\x89PNG")


def test_resolving_an_unknown_name_gives_an_empty_array(desk: Desk) -> None:
    assert desk.ok("utils.resolveScreenName", screen_name="nobody_here_0") == []
    assert desk.ok("utils.resolveScreenName", screen_name=f"club{desk.group_id}")["object_id"] == desk.group_id
