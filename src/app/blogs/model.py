"""What a blog is."""

from __future__ import annotations

from sqlalchemy import PrimaryKeyConstraint, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from drydock.database import Model

TITLE_LENGTH = 200  # characters


class Blog(Model):
    """A blog, known by its title."""

    __tablename__ = "blogs"
    __table_args__ = (
        PrimaryKeyConstraint("id", name="blogs_pkey"),
        UniqueConstraint("title", name="blogs_title_key"),
        # An id is not used again after its blog is gone.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column()
    title: Mapped[str] = mapped_column(String(TITLE_LENGTH))
