"""Keys of programs, and the repeats that people ask for."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make both tables; they are tenant data. The audit trail gets the order in which it is read."""
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_api_keys_digest")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_api_keys_account_id_accounts"), ondelete="CASCADE"
        ),
    )
    op.create_index("api_keys_account", "api_keys", ["account_id", "created_at"])
    op.create_table(
        "repeats",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_repeats")),
        sa.ForeignKeyConstraint(
            ["account_id", "delivery_id"],
            ["deliveries.account_id", "deliveries.id"],
            name=op.f("fk_repeats_account_id_deliveries"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("repeats_delivery", "repeats", ["delivery_id"])
    op.create_index("audit_entries_journal", "audit_entries", ["account_id", "id"])
    for table in ("api_keys", "repeats"):
        op.execute(f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY')
        op.execute(f"""
            CREATE POLICY tenant ON "{table}"
            USING (account_id = nullif(current_setting('mostik.account_id', true), '')::uuid)
            WITH CHECK (account_id = nullif(current_setting('mostik.account_id', true), '')::uuid)
        """)
