"""Methods about the application, the portal and its users (bitrix24.md 1.5, 1.6, 9)."""

from __future__ import annotations

from tests.sandbox.bitrix24 import php
from tests.sandbox.bitrix24.methods.table import METHODS, Call, method, page
from tests.sandbox.bitrix24.moments import moment
from tests.sandbox.bitrix24.state import ALL_SCOPES, User

LICENSE = {"LICENSE": "ru_pro100", "LICENSE_TYPE": "pro100", "LICENSE_FAMILY": "pro"}
CONTACTS = ("user", "user_basic")


@method("app.info")
def app_info(call: Call) -> object:
    """Describe the installation; a webhook only hears its rights."""
    if call.install is None:
        return {"SCOPE": list(ALL_SCOPES), **LICENSE}
    app = call.install.app
    return {
        "ID": list(call.portal.installs).index(app.client_id) + 1,
        "CODE": app.client_id,
        "VERSION": app.version,
        "STATUS": app.status,
        "INSTALLED": call.install.installed,
        "PAYMENT_EXPIRED": "N",
        "DAYS": None,
        "LANGUAGE_ID": "ru",
        **LICENSE,
    }


@method("scope")
def scope(call: Call) -> object:
    """List the granted scopes, or all that exist."""
    if php.truthy(call.get("FULL")):
        return list(ALL_SCOPES)
    return list(call.token.scopes if call.token else ALL_SCOPES)


@method("methods")
def methods(call: Call) -> object:
    """List the methods this application may call."""
    if php.truthy(call.get("FULL")):
        return sorted(METHODS)
    wanted = php.text(call.get("SCOPE"))
    return sorted(
        name for name, known in METHODS.items() if (known.scope == wanted if wanted else _granted(call, name))
    )


@method("method.get")
def method_get(call: Call) -> object:
    """Tell whether a method exists and may be called."""
    name = php.text(call.need("NAME")).lower()
    return {"isExisting": name in METHODS, "isAvailable": name in METHODS and _granted(call, name)}


@method("feature.get")
def feature_get(call: Call) -> object:
    """Tell whether the plan has a feature."""
    code = php.text(call.need("CODE"))
    return {"value": "Y" if code in ("rest_offline_extended", "rest_auth_connector") else "N"}


@method("server.time")
def server_time(call: Call) -> object:
    """Give the portal's time."""
    return moment(call.cloud.peer.now())


@method("profile")
def profile(call: Call) -> object:
    """Describe the calling user without any scope."""
    user = call.user
    return {
        "ID": str(user.id),
        "ADMIN": user.is_admin,
        "NAME": user.name,
        "LAST_NAME": user.last_name,
        "PERSONAL_GENDER": "",
        "TIME_ZONE": "",
        "TIME_ZONE_OFFSET": 0,
    }


@method("user.admin")
def user_admin(call: Call) -> object:
    """Tell whether the calling user is an administrator."""
    return call.user.is_admin


@method("user.current", scope="user_brief")
def user_current(call: Call) -> object:
    """Describe the calling user."""
    return _shown(call, call.user)


@method("user.get", scope="user_brief")
def user_get(call: Call) -> object:
    """List employees; internal users of clients are never returned."""
    wanted = {key.upper(): value for key, value in php.mapping(call.get("FILTER")).items()}
    wanted |= {key: call.get(key) for key in ("ID", "ACTIVE") if call.get(key) is not None}
    rows: list[object] = [
        _shown(call, user)
        for user in call.portal.users.values()
        if not user.is_client and _fits(user, wanted)
    ]  # fmt: skip
    return page(call, rows)


@method("app.option.set", app=True)
def option_set(call: Call) -> object:
    """Keep the application's own settings on the portal."""
    call.portal.app_options[call.client_id].update(php.mapping(call.need("OPTIONS")))
    return True


@method("app.option.get", app=True)
def option_get(call: Call) -> object:
    """Return one or all of the application's settings."""
    options, name = call.portal.app_options[call.client_id], php.text(call.get("OPTION"))
    return options.get(name, "") if name else options


def _granted(call: Call, name: str) -> bool:
    known = METHODS[name]
    if known.needs_app and call.install is None:
        return False
    return not known.scope or call.token is None or known.scope in call.token.scopes


def _fits(user: User, wanted: dict[str, object]) -> bool:
    ids = wanted.get("ID")
    if ids is not None and str(user.id) not in [php.text(one) for one in (php.items(ids) or [ids])]:
        return False
    return "ACTIVE" not in wanted or php.truthy(wanted["ACTIVE"]) == user.is_active


def _shown(call: Call, user: User) -> dict[str, object]:
    shown: dict[str, object] = {
        "ID": str(user.id),
        "ACTIVE": user.is_active,
        "NAME": user.name,
        "LAST_NAME": user.last_name,
        "PERSONAL_PHOTO": user.picture,
        "WORK_POSITION": "",
        "UF_DEPARTMENT": [1],
        "USER_TYPE": "employee",
    }
    if call.token is None or any(name in call.token.scopes for name in CONTACTS):
        shown |= {"EMAIL": user.email, "PERSONAL_MOBILE": user.phone, "WORK_PHONE": ""}
    return shown
