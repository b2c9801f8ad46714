"""amoCRM's own pages as a widget meets them: cards of leads, contacts and companies, the marketplace, a page in the settings.

They load the archive that was uploaded, the way amoCRM does: an AMD module, `this.callbacks`, `$authorizedAjax` with a one-time token and a real CORS
preflight. Nothing undocumented is offered, and what a widget does wrong stands in red at the foot of the page (amocrm.md 7, 9.19).
`dollar.js` stands in for jQuery: it has what jQuery 2 has of what is used, under the same names.

POST /_sandbox/widget {client_id?, archive_b64}: upload an archive
GET  /pages/{host}/leads|contacts/detail/{id} ?user=, companies/detail/{id}; /pages/{host}/marketplace; /pages/{host}/settings/{code}
"""

from __future__ import annotations

import base64
import io
import json
import mimetypes
import zipfile
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.sandbox.amocrm import control, oauth
from tests.sandbox.amocrm.cloud import Cloud
from tests.sandbox.amocrm.host import shown
from tests.sandbox.amocrm.state import Account, Integration, User
from tests.sandbox.frame import BadControl, json_answer

FOLDER = Path(__file__).parent
NEEDED = ("manifest.json", "script.js")
Json = dict[str, Any]


def add_routes(router: web.UrlDispatcher, cloud: Cloud) -> Host:
    """Add the pages; they stand under /pages/, where faults do not act."""
    host = Host(cloud)
    router.add_get("/pages/static/{name}", host.static)
    for kind in ("leads", "contacts", "companies"):
        router.add_get(f"/pages/{{host}}/{kind}/detail/{{id:\\d+}}", host.page)
    for path in ("marketplace", "settings/{code}"):
        router.add_get(f"/pages/{{host}}/{path}", host.page)
    router.add_get("/pages/{host}/data", host.data)
    router.add_get("/pages/{host}/widgets/{code}/{path:.+}", host.file)
    router.add_post("/pages/{host}/token", host.token)
    router.add_post("/pages/{host}/install", host.install)
    return host


class Host:
    """Serves the pages, and remembers the archives of integrations."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._archives: dict[str, dict[str, bytes]] = {}

    async def upload(self, body: Json) -> Json:
        """Take an archive for an integration, as its developer uploads it. Raises BadControl."""
        integration = control.find_integration(self._cloud, body)
        try:
            with zipfile.ZipFile(io.BytesIO(base64.b64decode(str(body.get("archive_b64", ""))))) as archive:
                files = {name: archive.read(name) for name in archive.namelist()}
        except (zipfile.BadZipFile, ValueError) as trouble:
            raise BadControl("not a zip archive") from trouble
        missing = [name for name in NEEDED if name not in files]
        if missing:
            raise BadControl(f"missing in the archive: {', '.join(missing)}")
        self._archives[integration.widget_code] = files
        return {"code": integration.widget_code, "files": sorted(files)}

    # -- pages ---------------------------------------------------------------------------------------------------------

    async def static(self, request: web.Request) -> web.StreamResponse:
        """Serve the host's own scripts and styles."""
        file = FOLDER / request.match_info["name"]
        if file.suffix not in (".js", ".css") or not file.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(file, headers={"Cache-Control": "no-store"})

    async def page(self, request: web.Request) -> web.StreamResponse:
        """Show a page; its script builds it from `data`."""
        self._account(request)
        return web.FileResponse(FOLDER / "page.html", headers={"Cache-Control": "no-store"})

    async def data(self, request: web.Request) -> web.StreamResponse:
        """Tell a page what it shows, and which widgets it loads."""
        account = self._account(request)
        user = self._user(account, request.query.get("user", ""))
        widgets = [
            self._widget(account, one)
            for one in self._cloud.integrations.values()
            if one.widget_code in self._archives and one.only_account in (0, account.id)
        ]
        kind, number = request.query.get("kind", ""), int(request.query.get("id") or 0)
        card = shown.card(account, kind, number) if kind else None
        return json_answer({"account": shown.account(account, user), "card": card, "widgets": widgets})

    async def file(self, request: web.Request) -> web.StreamResponse:
        """Serve a file of an archive."""
        files = self._archives.get(request.match_info["code"], {})
        body = files.get(request.match_info["path"])
        if body is None:
            raise web.HTTPNotFound
        kind = mimetypes.guess_type(request.match_info["path"])[0] or "application/octet-stream"
        return web.Response(body=body, content_type=kind)

    # -- what the CRM's own scripts ask --------------------------------------------------------------------------------

    async def token(self, request: web.Request) -> web.StreamResponse:
        """Make the one-time token of a widget's request; only an installed integration has one."""
        account, body = self._account(request), await request.json()
        integration = self._integration(str(body.get("code", "")))
        if integration.client_id not in account.installs:
            raise web.HTTPForbidden(text="not installed")
        user = self._user(account, str(body.get("user", "")))
        return json_answer({"token": self._cloud.one_time_token(integration, account, user.id)})

    async def install(self, request: web.Request) -> web.StreamResponse:
        """Press "Install"; only an administrator may (1.2)."""
        account, body = self._account(request), await request.json()
        user = self._user(account, str(body.get("user", "")))
        if not user.is_admin:
            raise web.HTTPForbidden(text="only an administrator may install")
        answer = await oauth.install(
            self._cloud, self._integration(str(body.get("code", ""))), account, user_id=user.id
        )
        return json_answer({"status": answer.status})

    # -- small parts ---------------------------------------------------------------------------------------------------

    def _widget(self, account: Account, integration: Integration) -> Json:
        files = self._archives[integration.widget_code]
        words = {
            name.removeprefix("i18n/").removesuffix(".json"): json.loads(body)
            for name, body in files.items()
            if name.startswith("i18n/")
        }
        return {
            "code": integration.widget_code,
            "manifest": json.loads(files["manifest.json"]),
            "words": words,
            "path": f"/pages/{account.host}/widgets/{integration.widget_code}",
            "status": "installed" if integration.client_id in account.installs else "install",
        }

    def _account(self, request: web.Request) -> Account:
        found = self._cloud.by_host(request.match_info["host"])
        if found is None:
            raise web.HTTPNotFound(text="no such account")
        return found

    def _user(self, account: Account, named: str) -> User:
        return account.users.get(int(named or 0), account.admin)

    def _integration(self, code: str) -> Integration:
        found = next((one for one in self._cloud.integrations.values() if one.widget_code == code), None)
        if found is None:
            raise web.HTTPNotFound(text="no such widget")
        return found
