"""A message that a CRM refuses is not lost: the journal says that it failed and why, and a person sends it again."""

from __future__ import annotations

import base64
import secrets
import shutil

from tests.bridge.pair import Pair, new_user
from tests.stack import wait_for
from widget_backend.bridge import journal, repeat
from widget_backend.bridge.journal import Wanted


def test_refused_message_stands_in_the_journal_with_its_reason_and_is_sent_again(pair: Pair) -> None:
    """Let the portal refuse a message because of a file that it cannot fetch; the next message arrives all the same."""
    user, portal = new_user(), pair.portal["member_id"]
    pair.customer(user, text="до файла")
    pair.wait_seen(user, "до файла")
    pair.stack.control("bitrix24", "options", account=portal, file_refusal="error")
    pair.faults("bitrix24", outage=True)
    note = base64.b64encode(secrets.token_bytes(300)).decode()
    pair.customer(user, text="с файлом", attachments=[{"type": "doc", "name": "x.txt", "content_b64": note}])
    wait_for(lambda: pair.rows("select 1 from attachments where state = 'stored'"), what="the fetched file")
    shutil.rmtree(pair.stack.config.files_dir / str(pair.account_id))
    pair.faults("bitrix24", outage=False)

    pair.wait_status("с файлом", pair.connection_id, "failed")
    (line,) = journal.page(pair.account_id, Wanted(status="failed")).lines
    (delivery,) = line.deliveries
    assert (line.message.text, delivery.reason) == ("с файлом", "bitrix24_refused")
    assert [one.outcome for one in pair.rows("select outcome from attempts where outcome = 'rejected'")] == ["rejected"]
    pair.customer(user, text="после файла")
    pair.wait_seen(user, "до файла", "после файла")

    pair.stack.control("bitrix24", "options", account=portal, file_refusal="mark")
    assert repeat.repeat(pair.account_id, delivery.id, key="by hand", actor="server")
    wait_for(lambda: any("с файлом" in text for text in pair.seen(user)), what="the message sent again")
