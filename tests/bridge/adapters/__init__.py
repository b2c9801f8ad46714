"""Adapters that only the tests have, found by the registry of the processes that `tests.bridge.switchboard` starts."""
