"""The sample resource. A fork deletes this folder, its migration and its name in the service."""

from app.blogs.model import Blog
from app.blogs.views import blueprint

__all__ = ["Blog", "blueprint"]
