"""Listing, reading, adding and deleting blogs."""

from __future__ import annotations

from typing import Any

from flask import url_for
from marshmallow import Schema, fields, validate
from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from werkzeug.exceptions import Conflict, NotFound

from app.blogs.model import TITLE_LENGTH, Blog
from drydock.api import SECURITY, Blueprint
from drydock.auth import writer_only
from drydock.database import transaction
from drydock.fields import PageArguments, Paged, Printable, storable_id

blueprint = Blueprint("blogs", __name__, url_prefix="/blogs", description="The sample resource")

ABSENT = "There is no blog with this id."


class NewBlog(Schema):
    """What a client sends."""

    title = fields.String(
        required=True,
        validate=[
            validate.Length(1, TITLE_LENGTH),
            Printable(),
        ],
    )


class StoredBlog(Schema):
    """What a client gets."""

    id = fields.Integer(required=True)
    title = fields.String(required=True)


class Page(Paged):
    """A part of the list."""

    blogs = fields.List(fields.Nested(StoredBlog), required=True)


@blueprint.route("")
@blueprint.problems(503)
@blueprint.arguments(PageArguments, location="query")
@blueprint.response(200, Page)
def list_blogs(arguments: dict[str, int]) -> dict[str, Any]:
    """List the blogs, the oldest first."""
    page, size = arguments["page"], arguments["page_size"]
    with transaction() as session:
        total = session.scalar(select(func.count()).select_from(Blog))
        query = select(Blog).order_by(Blog.id).limit(size).offset((page - 1) * size)
        blogs = [{"id": blog.id, "title": blog.title} for blog in session.scalars(query)]
    return {"blogs": blogs, "page": page, "page_size": size, "total": total}


@blueprint.route("", methods=["POST"])
@blueprint.problems(401, 403, 409, 413, 415, 503)
@blueprint.doc(**SECURITY)
@writer_only
@blueprint.arguments(NewBlog)
@blueprint.response(201, StoredBlog, headers={"Location": {"schema": {"type": "string"}}})
def add_blog(new: dict[str, str]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Add a blog."""
    try:
        with transaction() as session:
            blog = Blog(title=new["title"])
            session.add(blog)
            session.flush()
            stored = {"id": blog.id, "title": blog.title}
    except IntegrityError:
        raise Conflict("There is a blog with this title already.") from None
    return stored, 201, {"Location": url_for(".get_blog", blog_id=stored["id"])}


@blueprint.route("/<int:blog_id>")
@blueprint.problems(404, 503)
@blueprint.response(200, StoredBlog)
def get_blog(blog_id: int) -> dict[str, Any]:
    """Read a blog."""
    with transaction() as session:
        blog = session.get(Blog, storable_id(blog_id, ABSENT))
        if blog is None:
            raise NotFound(ABSENT)
        return {"id": blog.id, "title": blog.title}


@blueprint.route("/<int:blog_id>", methods=["DELETE"])
@blueprint.problems(401, 403, 404, 503)
@blueprint.doc(**SECURITY)
@writer_only
@blueprint.response(204)
def delete_blog(blog_id: int) -> None:
    """Delete a blog."""
    with transaction() as session:
        query = delete(Blog).where(Blog.id == storable_id(blog_id, ABSENT)).returning(Blog.id)
        if session.scalar(query) is None:
            raise NotFound(ABSENT)
