"""Who may see and change what: letters of rights per entity (amocrm.md 3.2)."""

from __future__ import annotations

from tests.sandbox.amocrm.problems import Refusal, no_right, not_found
from tests.sandbox.amocrm.rest import Call
from tests.sandbox.amocrm.state import Entity


def may(call: Call, one: Entity, act: str) -> bool:
    """Tell whether the acting user may do this with an entity: all, his group's, his own, none."""
    letter = call.user.right(one.kind, act)
    if letter == "G":
        owner = call.account.users.get(one.responsible_user_id)
        return bool(owner and owner.group_id == call.user.group_id)
    return letter == "A" or (letter == "M" and one.responsible_user_id == call.user.id)


def allowed(call: Call, kind: str, act: str) -> None:
    """Refuse a user who may not do this at all: 400 with the number 244 in its text (3.1)."""
    if call.user.right(kind, act) == "D":
        raise Refusal(400, "Код ошибки 244. В случае повторного возникновения ошибки, обращайтесь в нашу поддержку")


def need_entity(call: Call, kind: str, number: int, act: str) -> Entity:
    """Return an entity. Raises 404 when there is none, 403 when this user may not."""
    one = call.account.entities[kind].get(number)
    if one is None or one.is_deleted:
        raise not_found()
    if not may(call, one, act):
        raise no_right()
    return one
