"""The consent page of www.amocrm.ru/oauth and the script of the ready-made button (amocrm.md 1.2)."""

from __future__ import annotations

import html
import json
from urllib.parse import parse_qs

from aiohttp import web

from tests.sandbox.amocrm import oauth
from tests.sandbox.amocrm.cloud import Cloud
from tests.sandbox.amocrm.state import HOSTS, Integration

PAGE = """<!doctype html>
<html lang="ru">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>amoCRM: доступ к аккаунту</title>
  <link rel="icon" href="data:,">
  <style>
    body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: #f5f7f8; color: #363b44;
      font: 15px/1.5 "PT Sans", "Segoe UI", Roboto, Arial, sans-serif; }}
    main {{ width: min(480px, calc(100vw - 32px)); background: #fff; border: 1px solid #e0e3e7; border-radius: 6px;
      padding: 28px 32px; box-sizing: border-box; }}
    h1 {{ font-size: 20px; margin: 0 0 12px; }}
    ul {{ padding-left: 20px; }}
    label {{ display: block; margin: 12px 0; }}
    select {{ display: block; width: 100%; font: inherit; padding: 8px; margin-top: 4px; border: 1px solid #c6cbd2;
      border-radius: 4px; background: #fff; }}
    .row {{ display: flex; gap: 12px; margin-top: 20px; }}
    button {{ font: inherit; padding: 9px 18px; border-radius: 4px; border: 1px solid #c6cbd2; background: #fff; cursor: pointer; }}
    button.main {{ background: #4c8bf7; border-color: #4c8bf7; color: #fff; }}
    .bad {{ color: #c0392b; }}
    .mark {{ color: #828b95; font-size: 12px; margin: 20px 0 0; }}
  </style>
</head>
<body><main>{inside}<p class="mark">Песочница: не настоящий amoCRM</p></main></body>
</html>"""
FORM = """<h1>Интеграция «{title}» запрашивает доступ</h1>
<p>Интеграция сможет:</p>
<ul>{scopes}</ul>
{trouble}
<form method="post">
  <label>Аккаунт и пользователь<select name="who">{options}</select></label>
  <div class="row"><button class="main" name="act" value="allow">Разрешить</button>
  <button name="act" value="refuse">Отказать</button></div>
</form>"""
SCOPE_TEXTS = {
    "crm": "видеть и менять данные аккаунта",
    "files": "читать и загружать файлы",
    "files_delete": "удалять файлы",
    "notifications": "присылать уведомления",
}
OPENER = """<script>
const url = {url};
if (window.opener && {popup}) {{ window.opener.location = url; window.close(); }} else {{ location.replace(url); }}
</script><p>Возвращаемся…</p>"""


def add_routes(router: web.UrlDispatcher, cloud: Cloud) -> None:
    """Add the page of both platforms."""
    window = Window(cloud)
    for host in HOSTS.values():
        for tail in ("oauth", "oauth/"):
            router.add_get(f"/www.{host}/{tail}", window.show)
            router.add_post(f"/www.{host}/{tail}", window.decide)


class Window:
    """The consent window. Who is signed in is chosen on the page."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Show what is asked for; there is no redirect_uri or scope in the address."""
        integration = self._cloud.integrations.get(request.query.get("client_id", ""))
        if integration is None or not integration.redirect_uri:
            return _page('<h1 class="bad">Интеграция не найдена или не настроена</h1>', 400)
        return _page(self._form(request, integration))

    def _form(self, request: web.Request, integration: Integration, trouble: str = "") -> str:
        options = [
            f'<option value="{account.id}:{user.id}">{html.escape(account.host)} — {html.escape(user.name)}'
            f"{' (админ)' if user.is_admin else ''}</option>"
            for account in self._cloud.accounts.values()
            if request.path.split("/")[1] == f"www.{HOSTS[account.platform]}"
            and integration.only_account in (0, account.id)
            for user in account.users.values()
            if user.is_active
        ]
        scopes = "".join(f"<li>{SCOPE_TEXTS[scope]}</li>" for scope in integration.scopes)
        said = f'<p class="bad" role="alert">{html.escape(trouble)}</p>' if trouble else ""
        return FORM.format(title=html.escape(integration.title), scopes=scopes, trouble=said, options="".join(options))

    async def decide(self, request: web.Request) -> web.StreamResponse:
        """Go back with a code or with access_denied: in the opener (popup) or in this window (post_message)."""
        integration = self._cloud.integrations.get(request.query.get("client_id", ""))
        if integration is None:
            return _page('<h1 class="bad">Интеграция не найдена</h1>', 400)
        fields = parse_qs(await request.text())
        state = request.query.get("state", "")
        if fields.get("act") != ["allow"]:
            return _back(request, oauth.refusal(integration, state))
        account_id, _, user_id = fields.get("who", [""])[0].partition(":")
        account = self._cloud.accounts.get(int(account_id or 0))
        if account is None or int(user_id or 0) not in account.users:
            return _page(self._form(request, integration, "Выберите аккаунт"), 400)
        try:
            url = oauth.redirect(self._cloud, integration, account, user_id=int(user_id), state=state)
        except oauth.Impossible as refusal:
            return _page(self._form(request, integration, str(refusal)), 403)
        return _back(request, url)


def _back(request: web.Request, url: str) -> web.Response:
    popup = "false" if request.query.get("mode") == "post_message" else "true"
    return _page(OPENER.format(url=json.dumps(url).replace("<", "\\u003c"), popup=popup))


def _page(inside: str, status: int = 200) -> web.Response:
    headers = {"Cache-Control": "no-store"}
    return web.Response(text=PAGE.format(inside=inside), status=status, content_type="text/html", headers=headers)
