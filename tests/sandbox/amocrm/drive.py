"""The files host: upload sessions in parts, files (amocrm.md 3.11)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tests.sandbox.amocrm.cloud import Cloud
from tests.sandbox.amocrm.problems import Refusal, no_right, not_found, unauthorized
from tests.sandbox.amocrm.state import new_uuid
from tests.sandbox.frame import Handler, json_answer

Json = dict[str, Any]
MAX_FILE = 314_572_800
MAX_PART = 524_288
SESSION_LIFE_S = 24 * 3600
HOSTS = ("drive-b.amocrm.ru", "drive-c.kommo.com")


def add_routes(router: web.UrlDispatcher, cloud: Cloud) -> None:
    """Add the routes of both platforms."""
    drive = Drive(cloud)
    for host in HOSTS:
        router.add_post(f"/{host}/v1.0/sessions", drive.safely(drive.begin))
        router.add_post(f"/{host}/v1.0/sessions/upload/{{session}}/{{part}}", drive.safely(drive.part))
        router.add_get(f"/{host}/v1.0/files", drive.safely(drive.files))
        router.add_get(f"/{host}/v1.0/files/{{uuid}}", drive.safely(drive.file))
        router.add_get(f"/{host}/download/{{uuid}}/{{name}}", drive.download)


class Drive:
    """All files and sessions stand in `cloud.drive` by uuid, with the account's id."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def safely(self, action: Callable[[web.Request, int], Awaitable[Json]]) -> Handler:
        """Check the token and its scope, turn a Refusal into its answer."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return json_answer(await action(request, self._account(request)))
            except Refusal as refusal:
                return refusal.answer()

        return handle

    def _account(self, request: web.Request) -> int:
        token = self._cloud.access.get(request.headers.get("Authorization", "").removeprefix("Bearer ").strip())
        if token is None or token.is_revoked or token.expires_at <= self._cloud.peer.now():
            raise unauthorized()
        if token.client_id not in self._cloud.accounts[token.account_id].installs:
            raise unauthorized()
        if "files" not in token.scopes:
            raise no_right()
        return token.account_id

    async def begin(self, request: web.Request, account: int) -> Json:
        """Open an upload session."""
        try:
            body = await request.json()
        except ValueError as trouble:
            raise Refusal(400, "Request data is not valid JSON") from trouble
        name, size = (body.get("file_name"), body.get("file_size")) if isinstance(body, dict) else (None, None)
        if not isinstance(name, str) or not name or not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise Refusal(400, "file_name and file_size are required")
        if size > MAX_FILE:
            raise Refusal(400, f"file is larger than {MAX_FILE}")
        session = new_uuid()
        mime = str(body.get("content_type") or "application/octet-stream")
        until = self._cloud.peer.now() + SESSION_LIFE_S
        made = {"account": account, "name": name, "size": size, "mime": mime, "body": b"", "part": 0, "until": until}
        self._cloud.drive[session] = made
        return {
            "session_id": session,
            "upload_url": self._upload_url(request, session, 0),
            "max_file_size": MAX_FILE,
            "max_part_size": MAX_PART,
        }

    def _upload_url(self, request: web.Request, session: str, part: int) -> str:
        return f"{self._cloud.url(request.path.split('/')[1])}/v1.0/sessions/upload/{session}/{part}"

    async def part(self, request: web.Request, account: int) -> Json:
        """Take one part; the last one makes the file."""
        name = request.match_info["session"]
        session = self._cloud.drive.get(name)
        if session is None or session["account"] != account or session["until"] <= self._cloud.peer.now():
            raise not_found()
        raw = await request.read()
        if len(raw) > MAX_PART or not raw:
            raise Refusal(400, f"a part has 1 to {MAX_PART} bytes")
        if request.match_info["part"] != str(session["part"]) or len(session["body"]) + len(raw) > session["size"]:
            raise Refusal(400, "wrong part")
        session["body"] += raw
        session["part"] += 1
        if len(session["body"]) < session["size"]:
            return {"session_id": name, "next_url": self._upload_url(request, name, session["part"])}
        del self._cloud.drive[name]
        number = new_uuid()
        self._cloud.drive[number] = {**session, "uuid": number, "version_uuid": new_uuid(), "is_file": True}
        self._cloud.record("drive_file", self._cloud.accounts[account], id=number, text=session["name"])
        return self._shown(request, self._cloud.drive[number])

    def _shown(self, request: web.Request, file: Json) -> Json:
        kind = file["mime"].partition("/")[0]
        host = request.path.split("/")[1]
        extension = file["name"].rpartition(".")[2]
        return {
            "uuid": file["uuid"],
            "version_uuid": file["version_uuid"],
            "name": file["name"],
            "sanitized_name": file["name"],
            "size": file["size"],
            "type": kind if kind in ("image", "video", "audio") else "file",
            "is_trashed": False,
            "metadata": {"extension": extension, "mime_type": file["mime"]},
            "has_multiple_versions": False,
            "_links": {
                "download": {"href": f"{self._cloud.url(host)}/download/{file['uuid']}/{file['name']}"},
                "self": {"href": f"{self._cloud.url(host)}/v1.0/files/{file['uuid']}"},
            },
        }

    async def files(self, request: web.Request, account: int) -> Json:
        """List the files."""
        own = [file for file in self._cloud.drive.values() if file.get("is_file") and file["account"] == account]
        return {"_count": len(own), "_embedded": {"files": [self._shown(request, file) for file in own]}}

    async def file(self, request: web.Request, account: int) -> Json:
        """Describe one file."""
        found = self._cloud.drive.get(request.match_info["uuid"])
        if found is None or not found.get("is_file") or found["account"] != account:
            raise not_found()
        return self._shown(request, found)

    async def download(self, request: web.Request) -> web.StreamResponse:
        """Serve a file by its secret link."""
        found = self._cloud.drive.get(request.match_info["uuid"])
        if found is None or not found.get("is_file"):
            raise web.HTTPNotFound
        return web.Response(body=found["body"], content_type=found["mime"])
