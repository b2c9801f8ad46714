"""vk.md 5.3: a community key by code, VK ID with PKCE."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.sandbox.run import start
from tests.unit.sandbox.vk_desk import Desk, Json

BACK = "https://mostik.example/oauth/vk/back"
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


@pytest.fixture(scope="module")
def vk() -> Iterator[Json]:
    with start(["--only", "vk"]) as running:
        yield running.addresses["vk"]


def ask(vk: Json, press: str = "allow", door: str = "oauth_url", **over: Any) -> requests.Response:
    query = {
        "client_id": vk["client_id"],
        "redirect_uri": BACK,
        "response_type": "code",
        "state": "st",
        "sandbox": press,
        **over,
    }
    if door == "oauth_url":
        query = {"group_ids": vk["group_id"], "v": "5.199", "scope": "messages,photos,docs,manage", **query}
    return requests.get(f"{vk[door]}/authorize", params=query, allow_redirects=False, timeout=5)


def back(answer: requests.Response) -> dict[str, str]:
    assert answer.status_code == 302, answer.text
    return {key: value[0] for key, value in parse_qs(urlsplit(answer.headers["Location"]).query).items()}


def exchange(vk: Json, code: str, **over: Any) -> requests.Response:
    given = {"client_id": vk["client_id"], "client_secret": vk["client_secret"], "redirect_uri": BACK, "code": code}
    return requests.get(f"{vk['oauth_url']}/access_token", params={**given, **over}, timeout=5)


def test_a_code_gives_a_working_community_key_once(vk: Json) -> None:
    given = back(ask(vk))
    assert given["state"] == "st"
    body = exchange(vk, given["code"]).json()
    assert body["expires_in"] == 0 and body["groups"][0]["group_id"] == vk["group_id"]
    desk = Desk(vk["base_url"])
    permissions = desk.ok("groups.getTokenPermissions", access_token=body["groups"][0]["access_token"])
    assert permissions["mask"] == 397316
    again = exchange(vk, given["code"])
    assert (again.status_code, again.json()["error"]) == (401, "invalid_grant")


def test_refusal_comes_back_as_access_denied(vk: Json) -> None:
    given = back(ask(vk, "deny"))
    assert (given["error"], given["state"]) == ("access_denied", "st")


@pytest.mark.parametrize(
    "over",
    [
        {"client_id": "1"},
        {"group_ids": "5"},
        {"group_ids": ""},
        {"redirect_uri": "nowhere"},
        {"scope": "friends"},
        {"v": ""},
    ],
)
def test_a_wrong_request_is_an_error_page(vk: Json, over: Json) -> None:
    assert ask(vk, **over).status_code == 401


@pytest.mark.parametrize("over", [{"redirect_uri": BACK + "/"}, {"client_secret": "x"}])
def test_the_second_step_must_repeat_the_address_and_know_the_secret(vk: Json, over: Json) -> None:
    assert exchange(vk, back(ask(vk))["code"], **over).status_code == 401


def test_only_listed_addresses_pass_when_there_is_a_list(vk: Json) -> None:
    desk = Desk(vk["base_url"])
    desk.control("faults", own={"trusted_redirects": [BACK + "/other"]})
    assert ask(vk).status_code == 401
    desk.control("faults", own={})


def sign_in(vk: Json, given: dict[str, str], **over: Any) -> requests.Response:
    form = {
        "grant_type": "authorization_code",
        "code": given["code"],
        "code_verifier": VERIFIER,
        "client_id": vk["client_id"],
        "device_id": given["device_id"],
        "redirect_uri": BACK,
        "state": "st",
    }
    return requests.post(f"{vk['id_url']}/oauth2/auth", data={**form, **over}, timeout=5)


def vk_id(vk: Json) -> dict[str, str]:
    return back(ask(vk, door="id_url", code_challenge=CHALLENGE, code_challenge_method="s256", scope="groups"))


def test_vk_id_lists_the_admins_communities_and_refreshes(vk: Json) -> None:
    given = vk_id(vk)
    tokens = sign_in(vk, given).json()
    desk = Desk(vk["base_url"])
    groups = desk.ok("groups.get", access_token=tokens["access_token"], filter="admin", extended=1)
    assert vk["group_id"] in [one["id"] for one in groups["items"]]
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], "client_id": vk["client_id"]}
    form |= {"device_id": given["device_id"], "state": "st"}
    assert requests.post(f"{vk['id_url']}/oauth2/auth", data=form, timeout=5).json()["access_token"]
    assert requests.post(f"{vk['id_url']}/oauth2/auth", data=form, timeout=5).status_code == 401


@pytest.mark.parametrize("over", [{"code_verifier": "w" * 43}, {"device_id": "other"}, {"device_id": ""}])
def test_vk_id_checks_verifier_and_device(vk: Json, over: Json) -> None:
    assert sign_in(vk, vk_id(vk), **over).status_code == 401


def test_vk_id_needs_pkce(vk: Json) -> None:
    assert ask(vk, door="id_url").status_code == 401
