"""What a CRM writes by itself goes to the client like an answer, and only where the channel wants it."""

from __future__ import annotations

from tests.bridge.pair import Pair, make_pair, new_user
from tests.stack import Stack, wait_for

FAREWELL = "Спасибо, приходите ещё!"


def _finish(pair: Pair, user: int) -> None:
    line = {"CLOSE_RULE": "text", "CLOSE_TEXT": FAREWELL, "VOTE_MESSAGE": "N"}
    pair.stack.control("bitrix24", "line", account=pair.portal["member_id"], line=pair.portal["lines"][0], params=line)
    pair.customer(user, text="вопрос")
    pair.wait_seen(user, "вопрос")
    pair.operator(user, text="ответ")
    pair.wait_got(user, "ответ")
    pair.operator(user, finish=True)


def test_farewell_of_a_line_reaches_the_client_and_stands_among_the_answers(pair: Pair) -> None:
    user = new_user()
    _finish(pair, user)
    pair.wait_got(user, "ответ", FAREWELL)
    (message,) = pair.rows("select direction, is_automatic from messages where text = :said", said=FAREWELL)
    assert (message.direction, message.is_automatic) == ("out", True)


def test_farewell_stays_away_where_the_channel_does_not_want_it(stack: Stack) -> None:
    pair, user = make_pair(stack, automatic_texts=False), new_user()
    _finish(pair, user)
    wait_for(lambda: pair.desk("dialog_finish"), what="the end of the dialog")
    pair.wait_quiet()
    assert pair.got(user) == ["ответ"]
