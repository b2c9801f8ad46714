"""All families of methods: importing this fills the table."""

from tests.sandbox.bitrix24.methods import (
    application,
    connectors,
    crm,
    dialogs,
    event_api,
    im,
    incoming,
    line_api,
    placements,
)

FAMILIES = (application, connectors, crm, dialogs, event_api, im, incoming, line_api, placements)
