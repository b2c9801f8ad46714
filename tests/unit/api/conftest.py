"""The same two accounts as for the pages, called with a key."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from tests.unit.pages.conftest import house, houses
from tests.unit.pages.house import House

__all__ = ["house", "houses"]


class Program:
    """A program with a key of an account."""

    def __init__(self, app: Flask, key: str) -> None:
        self.client = app.test_client()
        self.headers = {"Authorization": f"Bearer {key}"}

    def call(self, method: str, path: str, **given: Any) -> Any:
        headers = {**self.headers, **given.pop("headers", {})}
        return self.client.open(f"/api/v1{path}", method=method, headers=headers, **given)


@pytest.fixture
def program(app: Flask, house: House) -> Program:
    """Give a program of the first account."""
    return Program(app, house.key)
