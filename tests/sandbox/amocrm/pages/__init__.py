"""The manager's page."""

from __future__ import annotations

from aiohttp import web

from tests.sandbox.amocrm.cloud import Cloud


def add_routes(router: web.UrlDispatcher, cloud: Cloud) -> None:
    """Add the pages; they stand under /pages/, where faults do not act."""
