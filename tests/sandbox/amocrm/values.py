"""Reading of what REST v4 is sent: strict types, no unknown fields, errors collected as validation-errors (3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.sandbox.amocrm.problems import Invalid
from tests.sandbox.amocrm.state import Account, Json

Kind = type | tuple[type, ...]
CHOICE = ("NotSupportedChoice", "The value you selected is not a valid choice.")
MISSING = ("FieldMissing", "This field is missing.")
UNEXPECTED = ("FieldNotExpected", "This field was not expected.")
WRONG_TYPE = ("InvalidType", "This value should be of another type.")
TOO_LONG = ("TooLong", "This value is too long.")
BLANK = ("NotBlank", "This value should not be blank.")
ENUM_TYPES = ("multitext", "select", "multiselect", "radiobutton")
NUMBER_TYPES = ("numeric", "price", "monetary")
NAME_LIMIT = 255
VALUE_TYPES: dict[str, Kind] = {
    "checkbox": bool,
    "date": (int, str),
    "date_time": (int, str),
    "birthday": (int, str),
}


class Errors:
    """The complaints about one item of a batch."""

    def __init__(self) -> None:
        self.found: list[Json] = []

    def add(self, path: str, complaint: tuple[str, str]) -> None:
        """Complain about a path."""
        self.found.append({"code": complaint[0], "path": path, "detail": complaint[1]})

    def check(
        self, raw: Mapping[str, object], known: Mapping[str, Kind], *, required: Sequence[str] = (), path: str = ""
    ) -> None:
        """Check names and types of an object; null is let through where the field is not required."""
        for name in required:
            if raw.get(name) is None:
                self.add(f"{path}{name}", MISSING)
            elif raw[name] == "":
                self.add(f"{path}{name}", BLANK)
        for name, value in raw.items():
            if name not in known:
                self.add(f"{path}{name}", UNEXPECTED)
            elif value is not None and not is_a(value, known[name]):
                self.add(f"{path}{name}", WRONG_TYPE)
            elif name == "name" and isinstance(value, str) and len(value) > NAME_LIMIT:
                self.add(f"{path}{name}", TOO_LONG)


def is_a(value: object, kind: Kind) -> bool:
    """Tell whether a value has one of the types; a bool is no number."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    return bool in kinds if isinstance(value, bool) else isinstance(value, kinds)


def request_id(raw: Mapping[str, object], number: int) -> str:
    """Return the request_id, or the index as a string (3.1)."""
    return str(raw["request_id"]) if raw.get("request_id") is not None else str(number)


def settle(errors: Mapping[str, Errors]) -> None:
    """Raise Invalid when anything was complained about: a batch is taken whole or not at all."""
    told = {name: one.found for name, one in errors.items() if one.found}
    if told:
        raise Invalid(told)


# -- custom fields ----------------------------------------------------------------------------------------------------


def custom_values(errors: Errors, account: Account, kind: str, raw: object, path: str) -> dict[int, list[Json]]:
    """Read custom_fields_values: by field_id or field_code; values null clears the field."""
    found: dict[int, list[Json]] = {}
    for number, one in enumerate(raw if isinstance(raw, list) else []):
        here = f"{path}.{number}"
        if not isinstance(one, dict):
            errors.add(here, WRONG_TYPE)
            continue
        field = _field(account, kind, one)
        if field is None:
            errors.add(f"{here}.{'field_id' if one.get('field_id') else 'field_code'}", CHOICE)
        elif "values" not in one:
            errors.add(f"{here}.values", MISSING)
        elif one["values"] is None:
            found[field["id"]] = []
        elif not isinstance(one["values"], list) or not one["values"]:
            errors.add(f"{here}.values", WRONG_TYPE)
        else:
            values = [_value(errors, field, value, f"{here}.values.{at}") for at, value in enumerate(one["values"])]
            found[field["id"]] = [value for value in values if value is not None]
    return found


def _field(account: Account, kind: str, one: Json) -> Json | None:
    number, code = one.get("field_id"), one.get("field_code")
    if isinstance(number, int):
        return account.fields[kind].get(number)
    return next((field for field in account.fields[kind].values() if code and field["code"] == code), None)


def _value(errors: Errors, field: Json, raw: object, path: str) -> Json | None:
    if not isinstance(raw, dict):
        errors.add(path, WRONG_TYPE)
        return None
    kind = field["type"]
    if kind in ENUM_TYPES:
        return _choice(errors, field, raw, path)
    for name in raw:
        if name != "value":
            errors.add(f"{path}.{name}", UNEXPECTED)
    value = raw.get("value")
    if value is None:
        errors.add(f"{path}.value", MISSING)
        return None
    allowed = VALUE_TYPES.get(kind, (str, int, float))
    if (kind in NUMBER_TYPES and isinstance(value, str) and not _is_number(value)) or not is_a(value, allowed):
        errors.add(f"{path}.value", WRONG_TYPE)
    elif kind == "text" and len(str(value)) > NAME_LIMIT:
        errors.add(f"{path}.value", TOO_LONG)
    return {"value": value if isinstance(value, bool) or kind.startswith(("date", "birth")) else str(value)}


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).removeprefix("-").isdigit()


def _choice(errors: Errors, field: Json, raw: Json, path: str) -> Json | None:
    """Read a value of a field with enums; of a multitext the enum says which phone it is."""
    enums = field["enums"] or []
    is_multitext = field["type"] == "multitext"
    wanted = raw.get("enum_id") or raw.get("enum_code") or (None if is_multitext else raw.get("value"))
    for name in raw:
        if name not in ("value", "enum_id", "enum_code"):
            errors.add(f"{path}.{name}", UNEXPECTED)
    enum = next((one for one in enums if wanted in (one["id"], one["value"], one["code"]) and wanted), None)
    if enum is None and (wanted is not None or not is_multitext):
        name = next((key for key in ("enum_id", "enum_code") if raw.get(key)), "value")
        errors.add(f"{path}.{name}", CHOICE)
        return None
    if not is_multitext:
        return {"value": enum["value"], "enum_id": enum["id"], "enum_code": enum["code"]} if enum else None
    if not isinstance(raw.get("value"), str | int):
        errors.add(f"{path}.value", MISSING)
        return None
    enum = enum or enums[0]
    return {"value": str(raw["value"]), "enum_id": enum["id"], "enum_code": enum["value"]}


def shown_custom(account: Account, kind: str, values: Mapping[int, list[Json]]) -> list[Json] | None:
    """Show custom_fields_values; null when there are none."""
    rows = [
        {
            "field_id": number,
            "field_name": field["name"],
            "field_code": field["code"],
            "field_type": field["type"],
            "values": values[number],
        }
        for number, field in account.fields[kind].items()
        if values.get(number)
    ]
    return rows or None


# -- tags -------------------------------------------------------------------------------------------------------------


def tag_ids(errors: Errors, account: Account, kind: str, raw: object, path: str) -> list[int]:
    """Read tags given by id or name; an unknown name makes a tag."""
    found = []
    for number, one in enumerate(raw if isinstance(raw, list) else []):
        name, given = (one.get("name"), one.get("id")) if isinstance(one, dict) else (None, None)
        if isinstance(given, int) and given in account.tags[kind]:
            found.append(given)
        elif isinstance(name, str) and name:
            found.append(tag(account, kind, name)["id"])
        else:
            errors.add(f"{path}.{number}.{'id' if given else 'name'}", CHOICE if given else MISSING)
    return found


def tag(account: Account, kind: str, name: str) -> Json:
    """Find a tag of this kind of entity by its name, or make it."""
    for known in account.tags[kind].values():
        if known["name"] == name:
            return known
    made: Json = {"id": account.new_id("tag", 263_800), "name": name, "color": None}
    account.tags[kind][made["id"]] = made
    return made
