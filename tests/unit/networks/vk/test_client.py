"""The table of errors of VK is whole, and every reason and setting has its sentences."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.contract import vk_schema
from widget_backend.bridge.errors import AccessLost, EndError, Misconfigured, Rejected, Retry, Scope
from widget_backend.networks.vk import client
from widget_backend.networks.vk.client import error_of
from widget_backend.networks.vk.settings import Settings
from widget_backend.texts import LANGUAGES, LOCALES

FOLDER = Path(client.__file__).parent
BRIEF_CODES = (
    1, 5, 6, 7, 9, 10, 14, 15, 17, 18, 27, 28, 29, 100, 104, 113, 900, 901, 902, 909, 910, 911, 912, 913, 914, 917, 920,
    921, 922, 924, 925, 927, 932, 936, 940, 943, 944, 945, 946, 950, 962, 969, 985, 987, 988, 1012, 2000, 212, 213, 222,
    223, 801, 1401, 1117,
)  # fmt: skip
# not for a community that writes messages: test mode, advertising, votes, sign-up, transport over plain HTTP
FOREIGN_CODES = {38, 41, 101, 150, 201, 500, 600, 603, 3305, 3611, 11500}


@pytest.mark.parametrize("code", BRIEF_CODES)
def test_every_code_of_the_brief_has_its_own_reason(code: int) -> None:
    assert error_of(code).reason != "unknown_answer"


def test_every_code_of_the_schema_that_our_methods_can_answer_has_its_own_reason() -> None:
    schema = vk_schema.load()
    folder = vk_schema.schema_folder()
    assert folder is not None
    known = json.loads((folder / "errors.json").read_text())["errors"]
    methods = set(re.findall(r'"([a-z]+\.[A-Za-z]+)"', (FOLDER / "client.py").read_text()))
    codes = {one["code"] for one in known.values() if one.get("global")} - FOREIGN_CODES
    for method in methods:
        _, told = schema._methods[method]
        codes |= {known[one["$ref"].rpartition("/")[2]]["code"] for one in told.get("errors", [])}
    assert len(methods) >= 20
    assert [code for code in sorted(codes) if error_of(code).reason == "unknown_answer"] == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [(5, AccessLost), (27, AccessLost), (6, Retry), (14, Retry), (7, Misconfigured), (901, Rejected), (100, Rejected)],
)
def test_a_code_says_what_to_do(code: int, kind: type[EndError]) -> None:
    assert isinstance(error_of(code), kind)


def test_an_unheard_of_code_is_tried_again_for_this_message_alone() -> None:
    error = error_of(4242, "Something new")
    assert isinstance(error, Retry)
    assert (error.reason, error.scope) == ("unknown_answer", Scope.MESSAGE)


def test_every_reason_has_its_sentence_in_every_language() -> None:
    source = "".join(path.read_text() for path in FOLDER.glob("*.py"))
    used = set(
        re.findall(r'(?:Retry|Rejected|Uncertain|AccessLost|Misconfigured|Unregistered)\(\s*"([a-z_]+)"', source)
    )
    used |= {error_of(code).reason for code in range(12000)} | {"no_public_address"}
    told = json.loads((LOCALES / "reasons" / "vk.json").read_text())
    assert used == set(told)
    assert all(set(texts) == set(LANGUAGES) and all(texts.values()) for texts in told.values())


def test_every_setting_has_its_label_and_help_in_every_language() -> None:
    told = json.loads((LOCALES / "settings" / "vk.json").read_text())
    fields = Settings().fields.values()
    keys = {field.metadata[name] for field in fields for name in ("label", "help") if name in field.metadata}
    assert {key for key in keys if not key.startswith("channel.")} == set(told)
    assert all(set(texts) == set(LANGUAGES) and all(texts.values()) for texts in told.values())
