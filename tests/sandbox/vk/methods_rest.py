"""users.get, utils.resolveScreenName, wall comments, execute, and what community tokens may not do (vk.md 2.6, 2.7)."""

from __future__ import annotations

from tests.sandbox.vk import comments, represent, script
from tests.sandbox.vk.api import Call, dispatch, error_body, method, user_only
from tests.sandbox.vk.methods_groups import find_group
from tests.sandbox.vk.rules import VkError
from tests.sandbox.vk.state import Json

EXECUTE_CALLS = 25
COMMENTS_A_MINUTE = 30

user_only(
    "photos.createComment",
    "video.createComment",
    "market.createComment",
    "board.createComment",
    "video.save",
    "wall.editComment",
    "wall.deleteComment",
    "wall.post",
    "leadForms.getLeads",
    "leadForms.list",
    "leadForms.get",
    "wall.getComments",
    "wall.getById",
    "friends.get",
)


@method("users.get", tokens=("user", "group", "service"))
def users_get(call: Call) -> list[Json]:
    """Return profiles; unknown ids are left out."""
    names = [name.strip() for name in call.text("user_ids").split(",") if name.strip()]
    if len(names) > 1000:
        raise VkError(100, "user_ids has more than 1000 elements")
    if not names and call.token.kind == "user":
        names = [str(call.token.user_id)]
    fields = [name for name in call.text("fields").split(",") if name]
    found = [call.peer.world.find_user(name.removeprefix("id")) for name in names]
    return [represent.user(one, fields) for one in found if one]


@method("utils.resolveScreenName", tokens=("user", "group", "service"))
def resolve(call: Call) -> Json | list[Json]:
    """Find whom a short name belongs to; an empty array when nobody."""
    name = call.text("screen_name", required=True)
    group = find_group(call, name) if not name.isdigit() else None
    if group:
        return {"object_id": group.id, "group_id": group.id, "type": "group"}
    user = next((one for one in call.peer.world.users.values() if name in (one.screen_name, f"id{one.id}")), None)
    return {"object_id": user.id, "type": "user"} if user else []


@method("wall.createComment")
def create_comment(call: Call) -> Json:
    """Answer under a post of the own wall."""
    community = call.community
    if call.integer("owner_id", 0) != -community.id:
        raise VkError(213)
    if call.integer("from_group", 0) not in (0, community.id):
        raise VkError(100, "from_group is invalid")
    text, guid = call.text("message"), call.text("guid")
    if not text and not call.text("attachments"):
        raise VkError(100, "message is undefined")
    if guid and guid in community.comment_guids:
        return {"comment_id": community.comment_guids[guid], "parents_stack": []}
    moments, now = community.comment_moments, call.peer.now()
    while moments and moments[0] < now - 60:
        moments.popleft()
    if len(moments) >= COMMENTS_A_MINUTE:
        raise VkError(223)
    moments.append(now)
    comment = comments.add(
        call.peer,
        community,
        "wall",
        call.integer("post_id"),
        from_id=-community.id,
        text=text,
        reply_to=call.integer("reply_to_comment", 0),
    )
    if guid:
        community.comment_guids[guid] = comment["id"]
    return {"comment_id": comment["id"], "parents_stack": comment["parents_stack"]}


@method("execute")
def execute(call: Call) -> object:
    """Run a small VKScript: `var`, `return`, API calls, literals, member access (see script.py)."""
    count = 0

    def run(name: str, params: dict[str, str]) -> object:
        nonlocal count
        count += 1
        if count > EXECUTE_CALLS:
            raise VkError(13, "too many api calls")
        try:
            return dispatch(Call(call.peer, name, params, call.token))
        except VkError as refusal:
            body = error_body(refusal, name, {})
            call.notes.append({"method": name, "error_code": body["error_code"], "error_msg": body["error_msg"]})
            return False

    return script.run(call.text("code", required=True), run)
