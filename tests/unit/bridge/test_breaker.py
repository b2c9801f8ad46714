"""The breaker of hosts that many ends share."""

from collections import Counter
from uuid import uuid4

from jobs.exchange import HOST_ENDS, HostBreaker
from widget_backend.bridge.outcomes import Trouble


def test_one_failing_end_says_nothing_about_its_host() -> None:
    breaker, end = HostBreaker(), uuid4()
    for _ in range(50):
        breaker.note("vk", end, Trouble.FAILING)
    assert not breaker.resting(Counter())


def test_several_failing_ends_let_their_kind_rest_and_no_other() -> None:
    breaker = HostBreaker()
    for _ in range(HOST_ENDS):
        assert not breaker.resting(Counter())
        breaker.note("vk", uuid4(), Trouble.FAILING)
    assert breaker.resting(Counter()) == {"vk"}


def test_any_answer_ends_the_rest() -> None:
    for answer in (Trouble.NONE, Trouble.PAUSED, Trouble.LOST):
        breaker = HostBreaker()
        for _ in range(HOST_ENDS):
            breaker.note("vk", uuid4(), Trouble.FAILING)
        breaker.note("vk", uuid4(), answer)
        assert not breaker.resting(Counter())


def test_ends_that_ask_for_a_pause_never_make_the_others_rest() -> None:
    breaker = HostBreaker()
    for _ in range(50):
        breaker.note("bitrix24", uuid4(), Trouble.PAUSED)
    assert not breaker.resting(Counter())
