"""Writing from our side: composers, addresses of clients, quick replies; which card a conversation was begun from."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

NOW = sa.text("now()")
CLIENTS = {
    "phone": r"nullif(regexp_replace(profile ->> 'phone', '\D', '', 'g'), '')",
    "username": "nullif(lower(profile ->> 'username'), '')",
    "page": "nullif(lower(regexp_replace(rtrim(profile ->> 'profile_url', '/'), '^.*/', '')), '')",
}


def upgrade() -> None:
    """Make the tables, which are tenant data. The card stands in a column of its own: row-level security lets no index see into JSON."""
    for name in ("card", "contact"):
        made = sa.Computed(f"state ->> '{name}'", persisted=True)
        op.add_column("links", sa.Column(name, sa.Text(), made, nullable=True))
        only = sa.text(f"{name} is not null")
        op.create_index(f"links_{name}", "links", ["connection_id", name], postgresql_where=only)
    op.add_column("clients", sa.Column("may_write_at", sa.DateTime(timezone=True), nullable=True))
    for name, formula in CLIENTS.items():
        op.add_column("clients", sa.Column(name, sa.Text(), sa.Computed(formula, persisted=True), nullable=True))
        only = sa.text(f"{name} is not null")
        op.create_index(f"clients_{name}", "clients", ["account_id", name], postgresql_where=only)
    _compositions()
    _addresses()
    _quick_replies()
    for table in ("compositions", "client_addresses", "quick_replies"):
        op.execute(f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY')
        op.execute(f"""
            CREATE POLICY tenant ON "{table}"
            USING (account_id = nullif(current_setting('mostik.account_id', true), '')::uuid)
            WITH CHECK (account_id = nullif(current_setting('mostik.account_id', true), '')::uuid)
        """)


def _compositions() -> None:
    op.create_table(
        "compositions",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_compositions")),
        sa.ForeignKeyConstraint(
            ["account_id", "message_id"],
            ["messages.account_id", "messages.id"],
            name=op.f("fk_compositions_account_id_messages"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("compositions_message", "compositions", ["message_id"])


def _addresses() -> None:
    op.create_table(
        "client_addresses",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("channel_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Uuid(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("channel_id", "kind", "value", name=op.f("pk_client_addresses")),
        *(
            sa.ForeignKeyConstraint(
                ["account_id", column],
                [f"{table}.account_id", f"{table}.id"],
                name=op.f(f"fk_client_addresses_account_id_{column}_{table}"),
                ondelete="CASCADE",
            )
            for column, table in (("channel_id", "ends"), ("client_id", "clients"))
        ),
    )
    op.create_index("client_addresses_client", "client_addresses", ["client_id"])


def _quick_replies() -> None:
    op.create_table(
        "quick_replies",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.Text(), server_default="", nullable=False),
        sa.Column("language", sa.Text(), server_default="", nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), server_default="", nullable=False),
        sa.Column("files", postgresql.JSONB(), server_default="[]", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quick_replies")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name=op.f("fk_quick_replies_account_id_accounts"), ondelete="CASCADE"
        ),
        sa.UniqueConstraint("account_id", "id", name=op.f("uq_quick_replies_account_id_id")),
    )
    op.create_index("quick_replies_listed", "quick_replies", ["account_id", "owner", "title"])
