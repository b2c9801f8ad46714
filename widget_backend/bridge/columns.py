"""Columns and keys that all tables of the bridge are made of."""

from __future__ import annotations

from sqlalchemy import DateTime, ForeignKeyConstraint

Moment = DateTime(timezone=True)


def points_to(*columns: str, table: str, key: tuple[str, ...] = ("account_id", "id")) -> ForeignKeyConstraint:
    """Point at a row of the same account in another table; with it this row goes too."""
    return ForeignKeyConstraint(["account_id", *columns], [f"{table}.{name}" for name in key], ondelete="CASCADE")
