"""Notes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context, op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SAMPLES = ("Hello from Docker", "Images without a shell", "Never drop a request")


def upgrade() -> None:
    """Create the table; in development with a few titles in it."""
    notes = op.create_table(
        "notes",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("title", sa.String(200), nullable=False),
        sa.PrimaryKeyConstraint("id", name="notes_pkey"),
        sa.UniqueConstraint("title", name="notes_title_key"),
        sqlite_autoincrement=True,
    )
    settings = context.config.attributes.get("settings")
    if settings is not None and settings.development:
        op.bulk_insert(notes, [{"title": title} for title in SAMPLES])


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("notes")
