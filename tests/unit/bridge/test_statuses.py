"""The table of moves is the only way between statuses."""

import ast
import itertools
from pathlib import Path

import pytest

from widget_backend.bridge.statuses import TO_CRM, TO_NETWORK, Status, may_move

BRIDGE = Path(__file__).parents[3] / "widget_backend" / "bridge"
QUEUES_ANEW = {("repeat.py", "_queue")}
"""A person's repeat: asks the table itself, and begins the delivery again."""


@pytest.mark.parametrize("table", [TO_CRM, TO_NETWORK])
def test_nothing_confirmed_is_taken_back(table: dict[Status, frozenset[Status]]) -> None:
    assert not may_move(table, Status.DELIVERED, Status.QUEUED)
    for done in (Status.SENT, Status.RECEIVED, Status.READ, Status.DELIVERED):
        assert not may_move(table, done, Status.QUEUED)
        assert not may_move(table, done, Status.UNCERTAIN)
        assert not may_move(table, done, Status.EXPIRED)


def test_statuses_of_a_network_only_rise_but_for_sent_to_failed() -> None:
    rising = [Status.QUEUED, Status.SENT, Status.RECEIVED, Status.READ]
    for earlier, later in itertools.combinations(rising, 2):
        assert may_move(TO_NETWORK, earlier, later)
        assert not may_move(TO_NETWORK, later, earlier)
    assert may_move(TO_NETWORK, Status.SENT, Status.FAILED)
    assert not may_move(TO_NETWORK, Status.READ, Status.FAILED)


@pytest.mark.parametrize("table", [TO_CRM, TO_NETWORK])
def test_truth_that_comes_late_wins(table: dict[Status, frozenset[Status]]) -> None:
    done = Status.DELIVERED if table is TO_CRM else Status.SENT
    for doubt in (Status.UNCERTAIN, Status.FAILED):
        assert may_move(table, doubt, done)


def test_what_a_client_wrote_never_expires() -> None:
    assert all(Status.EXPIRED not in then for then in TO_CRM.values())


def test_no_other_code_writes_a_status() -> None:
    writers = set()
    for file in BRIDGE.rglob("*.py"):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Assign) and any(_is_status_of_delivery(one) for one in node.targets):
                        writers.add((file.name, function.name))
    assert writers == {("settle.py", "move"), *QUEUES_ANEW}


def _is_status_of_delivery(target: ast.expr) -> bool:
    if isinstance(target, ast.Tuple):
        return any(_is_status_of_delivery(one) for one in target.elts)
    if not isinstance(target, ast.Attribute) or target.attr != "status":
        return False
    return isinstance(target.value, ast.Name) and target.value.id == "delivery"
