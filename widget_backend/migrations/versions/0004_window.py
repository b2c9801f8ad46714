"""The window of a conversation: how long after the client's last message one may answer there, where that is not the same in the whole end."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column; conversations of before learn their window with the client's next message."""
    op.add_column("conversations", sa.Column("window_s", sa.Integer(), nullable=True))
