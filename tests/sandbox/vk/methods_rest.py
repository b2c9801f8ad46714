"""users.get, utils.resolveScreenName, wall comments, execute, and what community tokens may not do (vk.md 2.6, 2.7)."""

from __future__ import annotations

from tests.sandbox.vk import comments, represent, script
from tests.sandbox.vk.api import Call, dispatch, error_body, method, user_only
from tests.sandbox.vk.methods_groups import find_group
from tests.sandbox.vk.rules import VkError
from tests.sandbox.vk.state import Community, Json

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


def _post_place(call: Call, name: str) -> tuple[Community, int]:
    """Read "-<group>_<post>"; any post of a known community exists."""
    owner_id, _, post_id = name.partition("_")
    group = call.peer.world.communities.get(-int(owner_id)) if owner_id.removeprefix("-").isdigit() else None
    if group is None or not post_id.isdigit():
        raise VkError(100, "posts is invalid")
    return group, int(post_id)


@method("wall.getById", tokens=("user", "service"))
def wall_get_by_id(call: Call) -> Json:
    """Return posts, for the context of comments."""
    places = [_post_place(call, name) for name in call.text("posts", required=True).split(",")]
    items = [
        {
            "id": post_id,
            "owner_id": -group.id,
            "from_id": -group.id,
            "date": 1_700_000_000,
            "post_type": "post",
            "text": f"Запись {post_id}",
            "attachments": [],
            "inner_type": "wall_wallpost",
            "comments": {"count": len(group.comments.get(("wall", post_id), [])), "can_post": 1},
        }
        for group, post_id in places
    ]
    return {"items": items}


@method("wall.getComments", tokens=("user", "service"))
def wall_get_comments(call: Call) -> Json:
    """List comments of a post; comment_id narrows to one thread."""
    group, post_id = _post_place(call, f"{call.integer('owner_id')}_{call.integer('post_id')}")
    known = group.comments.get(("wall", post_id), [])
    thread = call.integer("comment_id", 0)
    found = [one for one in known if (one["parents_stack"] == [thread] if thread else not one["parents_stack"])]
    if call.text("sort", "asc") == "desc":
        found = found[::-1]
    offset, count = call.integer("offset", 0), call.bounded("count", 10, 0, 100)
    rest = {"current_level_count": len(found), "can_post": True, "show_reply_button": True, "groups_can_post": True}
    return {"count": len(known), "items": found[offset : offset + count]} | rest


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
