"""The methods of REST v4, by subject. Importing this package fills `rest.TABLE`."""

from tests.sandbox.amocrm import bots
from tests.sandbox.amocrm.api import (
    account,
    activity,
    chat_links,
    entities,
    fields,
    hooks,
    links,
    sources,
    templates,
    together,
    unsorted,
)
from tests.sandbox.amocrm.rest import TABLE

__all__ = [
    "TABLE",
    "account",
    "activity",
    "bots",
    "chat_links",
    "entities",
    "fields",
    "hooks",
    "links",
    "sources",
    "templates",
    "together",
    "unsorted",
]
