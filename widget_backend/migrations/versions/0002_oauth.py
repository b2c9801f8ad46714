"""Tokens of ends, and installs that wait for their account."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make both tables; the first is tenant data, the second is found before there is an account (its facts are sealed)."""
    op.create_table(
        "oauth_tokens",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("end_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Uuid(), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("access_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("refresh_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lost", sa.Text(), server_default=sa.text("''"), nullable=False),
        sa.Column("saved_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "end_id", name=op.f("pk_oauth_tokens")),
        sa.ForeignKeyConstraint(["app_id"], ["apps.id"], name=op.f("fk_oauth_tokens_app_id_apps"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["account_id", "end_id"],
            ["ends.account_id", "ends.id"],
            name=op.f("fk_oauth_tokens_account_id_ends"),
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "oauth_installs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("app_id", sa.Uuid(), nullable=False),
        sa.Column("remote_id", sa.Text(), nullable=False),
        sa.Column("facts_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("claim_digest", sa.LargeBinary(), nullable=False),
        sa.Column("claim_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_installs")),
        sa.UniqueConstraint("app_id", "remote_id", name=op.f("uq_oauth_installs_app_id")),
        sa.UniqueConstraint("claim_digest", name=op.f("uq_oauth_installs_claim_digest")),
        sa.ForeignKeyConstraint(
            ["app_id"], ["apps.id"], name=op.f("fk_oauth_installs_app_id_apps"), ondelete="CASCADE"
        ),
    )
    op.execute('ALTER TABLE "oauth_tokens" ENABLE ROW LEVEL SECURITY')
    op.execute("""
        CREATE POLICY tenant ON "oauth_tokens"
        USING (account_id = nullif(current_setting('mostik.account_id', true), '')::uuid)
        WITH CHECK (account_id = nullif(current_setting('mostik.account_id', true), '')::uuid)
    """)
