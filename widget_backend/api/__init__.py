"""/api/v1: what integrators and our own scripts call. Its description, /api/v1/openapi.json, is made from the code."""

from flask import Flask

from widget_backend.api import dialogs, ends, messages, quick_replies
from widget_backend.extensions import api


def register(app: Flask) -> None:
    """Mount the API of an application."""
    api.init_app(app)
    api.spec.components.security_scheme("key", {"type": "http", "scheme": "bearer"})
    api.spec.options["security"] = [{"key": []}]
    for blueprint in (ends.blueprint, messages.blueprint, dialogs.blueprint, quick_replies.blueprint):
        api.register_blueprint(blueprint)
