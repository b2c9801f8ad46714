"""The methods of REST v4, by subject. Importing this package fills `rest.TABLE`."""

from tests.sandbox.amocrm import bots
from tests.sandbox.amocrm.api import account
from tests.sandbox.amocrm.rest import TABLE

__all__ = ["TABLE", "account", "bots"]
