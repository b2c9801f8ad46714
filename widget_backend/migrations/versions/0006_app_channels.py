"""Registrations that a provider gives to an app for one kind of messenger each, and the doors of apps that take hooks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table; like apps it belongs to the server, and is found before an account is known."""
    op.create_table(
        "app_channels",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("app_id", sa.Uuid(), nullable=False),
        sa.Column("messenger", sa.Text(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("settings", postgresql.JSONB(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_app_channels")),
        sa.UniqueConstraint("app_id", "messenger", name=op.f("uq_app_channels_app_id_messenger")),
        sa.UniqueConstraint("app_id", "remote_id", name=op.f("uq_app_channels_app_id_remote_id")),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name=op.f("fk_app_channels_app_id_apps"), ondelete="CASCADE"),
    )
