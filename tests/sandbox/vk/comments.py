"""Comments under posts, photos, videos, products and in board topics, as events (vk.md 3.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.sandbox.frame import BadControl
from tests.sandbox.vk.state import Community, Json

if TYPE_CHECKING:
    from tests.sandbox.vk.peer import VkPeer

# where -> (event prefix, name of the thing's id, name of its owner's id)
PLACES = {
    "wall": ("wall_reply", "post_id", "post_owner_id"),
    "photo": ("photo_comment", "photo_id", "photo_owner_id"),
    "video": ("video_comment", "video_id", "video_owner_id"),
    "market": ("market_comment", "item_id", "market_owner_id"),
    "board": ("board_post", "topic_id", "topic_owner_id"),
}


def add(
    peer: VkPeer, community: Community, where: str, thing_id: int, *, from_id: int, text: str, reply_to: int = 0
) -> Json:
    """Write a comment; everybody hears of it, the community's own too."""
    event, id_name, owner_name = PLACES[where]
    known = community.comments.setdefault((where, thing_id), [])
    comment: Json = {
        "id": sum(len(one) for one in community.comments.values()) + 1,
        "from_id": from_id,
        "date": int(peer.now()),
        "text": text,
        id_name: thing_id,
        owner_name: -community.id,
        "attachments": [],
    }
    if where == "wall":
        parent = next((one for one in known if one["id"] == reply_to), None)
        comment |= {"owner_id": -community.id, "parents_stack": []}
        comment["thread"] = {"count": 0, "items": [], "can_post": True, "show_reply_button": True}
        if parent:
            comment["parents_stack"] = (parent["parents_stack"] or [parent["id"]])[:1]
            comment |= {"reply_to_user": parent["from_id"], "reply_to_comment": parent["id"]}
    known.append(comment)
    note(peer, community, "comment", where, comment)
    peer.events.emit(community, f"{event}_new", comment)
    return comment


def change(peer: VkPeer, community: Community, where: str, thing_id: int, comment_id: int, *, text: str | None) -> Json:
    """Edit a comment, or delete it when text is None. Raises BadControl."""
    event, id_name, _ = PLACES[where]
    known = community.comments.get((where, thing_id), [])
    comment = next((one for one in known if one["id"] == comment_id), None)
    if comment is None:
        raise BadControl(f"no comment {comment_id} there")
    if text is not None:
        comment["text"] = text
        note(peer, community, "comment_edit", where, comment)
        peer.events.emit(community, f"{event}_edit", comment)
        return comment
    note(peer, community, "comment_delete", where, comment)
    body = {"id": comment_id, id_name: thing_id}
    author = comment["from_id"]
    if where == "board":
        body["topic_owner_id"] = -community.id
    else:
        body |= {"owner_id": -community.id, "deleter_id": author}
    if where in {"photo", "video", "market"}:
        body["user_id"] = author
    peer.events.emit(community, f"{event}_delete", body)
    return comment


def note(peer: VkPeer, community: Community, kind: str, where: str, comment: Json) -> None:
    """Write it into the ledger."""
    thing_id = comment[PLACES[where][1]]
    peer.ledger.add(
        kind,
        account=str(community.id),
        conversation=f"{where}{-community.id}_{thing_id}",
        id=str(comment["id"]),
        direction="out" if comment["from_id"] < 0 else "in",
        user=str(comment["from_id"]),
        text=comment["text"],
        attachments=[],
    )
