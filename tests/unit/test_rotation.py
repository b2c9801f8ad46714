"""Changing keys: everything sealed is found, and opens with the new key alone."""

import dataclasses
from typing import Any

from sqlalchemy import LargeBinary

from widget_backend import crypto, rotation
from widget_backend.accounts.models import App
from widget_backend.config import Config
from widget_backend.extensions import db as database

NOT_SEALED = {
    ("end_keys", "digest"),
    ("oauth_installs", "claim_digest"),
    ("api_keys", "digest"),
    ("compositions", "digest"),
}


def test_every_column_of_bytes_is_either_resealed_or_known_to_hold_no_secret(app: Any) -> None:
    held = {
        (table.name, column.name)
        for table in database.metadata.tables.values()
        for column in table.columns
        if isinstance(column.type, LargeBinary) or isinstance(getattr(column.type, "impl", None), LargeBinary)
    }

    assert held == {(sealed.table, sealed.column) for sealed in rotation.SEALED} | NOT_SEALED


def test_reseal_leaves_values_that_the_new_key_alone_opens(db: Any, config: Config) -> None:
    old = config.keys[0]
    new = ("new", b"n" * 32)
    made = App(adapter="bitrix24", key="k", client_id="c", secret=b"")
    db.session.add(made)
    db.session.flush()
    made.secret = crypto.seal_text("the secret", f"app:{made.id}")
    db.session.commit()
    try:
        count = rotation.reseal(dataclasses.replace(config, keys=(new, old)))
        again = rotation.reseal(dataclasses.replace(config, keys=(new, old)))
        crypto.configure(crypto.KeyRing.of([new]))
        db.session.refresh(made)

        assert (count, again) == (1, 0)
        assert crypto.open_text(made.secret, f"app:{made.id}") == "the secret"
    finally:
        crypto.configure(crypto.KeyRing.of([old]))
