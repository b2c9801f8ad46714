"""The API's reference for people, drawn from the same description that programs read; nothing is loaded from other hosts."""

from __future__ import annotations

from widget_backend.accounts import access
from widget_backend.extensions import api
from widget_backend.pages.shell import blueprint, page


@blueprint.get("/api-reference")
@access.is_open
def reference() -> str:
    """Show the reference."""
    return page("reference.html", spec=api.spec.to_dict())
