"""Consent, codes, tokens, install and disable of an integration (amocrm.md 1)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from tests.sandbox.amocrm.cloud import Cloud
from tests.sandbox.amocrm.problems import OAuthRefusal, Refusal
from tests.sandbox.amocrm.state import TOP_LEVEL, Account, Integration, Json, Token
from tests.sandbox.hooks import Answer, Hook, Once

INSTALL_WAIT_S = 3.0  # 1.3: at most 3 s, the status is ignored, never repeated
DISABLE_WAIT_S = 5.0  # not documented
AGENT = {"User-Agent": "amoService-oAuth-Code-Sender/1.0"}
REQUIRED = {"authorization_code": "code", "refresh_token": "refresh_token"}


class Impossible(Exception):
    """What cannot be done in this state; the text is for people."""


# -- consent ----------------------------------------------------------------------------------------------------------


def redirect(
    cloud: Cloud,
    integration: Integration,
    account: Account,
    *,
    user_id: int,
    state: str = "",
    from_widget: bool = False,
) -> str:
    """Give access in the name of a user and return the address his browser is sent to (1.3).

    Raises: Impossible when a user without admin rights would be the first.
    """
    user = account.users[user_id]
    if integration.client_id not in account.installs and not user.is_admin:
        raise Impossible("Установить интеграцию может только администратор аккаунта.")
    if integration.only_account not in (0, account.id):
        raise Impossible("Это приватная интеграция другого аккаунта.")
    if not integration.redirect_uri:
        raise Impossible("У интеграции не указана ссылка для перенаправления.")
    _enable(cloud, integration, account)
    query = {
        "code": cloud.issue_code(integration, account, user_id),
        "referer": account.host,
        "state": state,
        "platform": str(account.platform),
        "client_id": integration.client_id,
        "from_widget": "1" if from_widget else "",
    }
    return _with_query(integration.redirect_uri, query)


def refusal(integration: Integration, state: str = "") -> str:
    """Return the address after the user said no."""
    query = {"error": "access_denied", "client_id": integration.client_id, "state": state}
    return _with_query(integration.redirect_uri, query)


def _with_query(url: str, query: Mapping[str, str]) -> str:
    told = urlencode({key: value for key, value in query.items() if value})
    return f"{url}{'&' if urlsplit(url).query else '?'}{told}"


async def install(cloud: Cloud, integration: Integration, account: Account, *, user_id: int = 0) -> Answer:
    """Press "Install" in the marketplace: one GET from server to server, no state, no cookies, no repeat."""
    url = redirect(cloud, integration, account, user_id=user_id or account.admin.id, from_widget=True)
    hook = Hook(url, b"", AGENT, Once(INSTALL_WAIT_S), label="install", account=account.host, method="GET")
    return await cloud.peer.hooks.deliver(hook)


def _enable(cloud: Cloud, integration: Integration, account: Account) -> None:
    if integration.client_id in account.installs:
        return
    account.installs.add(integration.client_id)
    cloud.record("installed", account, id=integration.client_id)
    if integration.has_archive and not integration.multiple_sources:
        _default_source(cloud, integration, account)


def _default_source(cloud: Cloud, integration: Integration, account: Account) -> None:
    """Without "multiple sources" amoCRM makes one source itself, named after the widget (3.6)."""
    number = account.new_id("source", 3_108_000)
    account.sources[number] = {
        "id": number,
        "name": integration.title,
        "pipeline_id": account.main_pipeline["id"],
        "external_id": integration.widget_code[:36],
        "default": True,
        "origin_code": None,
        "services": [],
        "client_id": integration.client_id,
        "is_automatic": True,
    }
    cloud.record("source", account, id=str(number), text="automatic")


async def disable(cloud: Cloud, integration: Integration, account: Account) -> Answer | None:
    """Switch the integration off: tokens die, channels are disconnected, the disable hook comes once (1.7)."""
    if integration.client_id not in account.installs:
        raise Impossible("Интеграция не включена в этом аккаунте.")
    account.installs.discard(integration.client_id)
    for token in cloud.tokens_of(integration.client_id, account.id):
        token.is_revoked = True
    for channel_id in [
        one for one, link in account.connections.items() if link.channel.client_id == integration.client_id
    ]:
        del account.connections[channel_id]
    cloud.record("disabled", account, id=integration.client_id)
    if not integration.disable_hook_url:
        return None
    signature = disable_signature(integration.client_secret, integration.client_id, account.id)
    query = {"client_uuid": integration.client_id, "account_id": str(account.id), "signature": signature}
    url = _with_query(integration.disable_hook_url, query)
    hook = Hook(url, b"", AGENT, Once(DISABLE_WAIT_S), label="disable", account=account.host, method="GET")
    return await cloud.peer.hooks.deliver(hook)


def disable_signature(secret: str, client_uuid: str, account_id: int) -> str:
    """Sign the disable hook: HMAC-SHA256 of "uuid|account" (1.7)."""
    return hmac.new(secret.encode(), f"{client_uuid}|{account_id}".encode(), hashlib.sha256).hexdigest()


# -- tokens -----------------------------------------------------------------------------------------------------------


def token_answer(cloud: Cloud, account: Account | None, body: Mapping[str, object]) -> Json:
    """Answer POST /oauth2/access_token of an account's host. Raises OAuthRefusal as 1.4 lists them."""
    if account is None:
        raise Refusal(401, "Account not found")
    grant_type = str(body.get("grant_type", ""))
    if grant_type not in REQUIRED:
        raise OAuthRefusal(400, "Check the `grant_type` parameter")
    for name in ("client_id", "client_secret", REQUIRED[grant_type], "redirect_uri"):
        if not isinstance(body.get(name), str) or not body[name]:
            raise OAuthRefusal(400, f"Check the `{name}` parameter")
    integration = cloud.integrations.get(str(body["client_id"]))
    if integration is None or not hmac.compare_digest(
        integration.client_secret.encode(), str(body["client_secret"]).encode()
    ):
        raise OAuthRefusal(401, "Client authentication failed")
    if body["redirect_uri"] != integration.redirect_uri:
        raise OAuthRefusal(400, "Check the `redirect_uri` parameter")
    if grant_type == "authorization_code":
        user_id = _code_user(cloud, integration, account, str(body["code"]))
        return cloud.grant(cloud.issue(integration, account, user_id))
    return cloud.grant(_refreshed(cloud, integration, account, str(body["refresh_token"])))


def _code_user(cloud: Cloud, integration: Integration, account: Account, text: str) -> int:
    code = cloud.codes.get(text)
    if code is None or (code.client_id, code.account_id) != (integration.client_id, account.id):
        raise OAuthRefusal(400, "Cannot decrypt the authorization code")
    if code.is_used:
        raise OAuthRefusal(400, "Authorization code has been revoked")
    if code.expires_at <= cloud.peer.now():
        raise OAuthRefusal(400, "Authorization code has expired")
    if integration.client_id not in account.installs:
        raise OAuthRefusal(401, "Integration is disabled")
    code.is_used = True
    return code.user_id


def _refreshed(cloud: Cloud, integration: Integration, account: Account, text: str) -> Token:
    old = cloud.refresh.get(text)
    if old is None or (old.client_id, old.account_id) != (integration.client_id, account.id):
        raise OAuthRefusal(401, "Cannot decrypt the refresh token")
    is_spent = old.refresh_used and not _may_repeat(account, old)
    if old.is_revoked or is_spent or integration.client_id not in account.installs:
        raise OAuthRefusal(401, "Token has been revoked")
    if old.refresh_expires_at <= cloud.peer.now():
        raise OAuthRefusal(401, "Token has expired")
    if old.successor:
        old.successor.is_revoked = True
    old.refresh_used = True
    old.successor = cloud.issue(integration, account, old.user_id)
    return old.successor


def _may_repeat(account: Account, old: Token) -> bool:
    """Kommo's page: the old token stays valid until the new pair is used (1.4, docs conflict)."""
    return account.options.lenient_refresh and not (old.successor and old.successor.was_seen)


def present_domain(cloud: Cloud, refresh_token: str) -> Json:
    """Answer GET https://{api_domain}/oauth2/account/current/subdomain (1.6); does not spend the token."""
    token = cloud.refresh.get(refresh_token)
    if token is None or token.is_revoked or token.refresh_used or token.refresh_expires_at <= cloud.peer.now():
        raise Refusal(401, "Unauthorized")
    account = cloud.accounts[token.account_id]
    return {
        "id": account.id,
        "subdomain": account.subdomain,
        "domain": account.host,
        "top_level_domain": TOP_LEVEL[account.platform],
    }
