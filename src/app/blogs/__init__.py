"""The sample resource. A fork deletes this folder, its line in factory.py and its migration."""

from app.blogs.model import Blog
from app.blogs.views import blueprint

__all__ = ["Blog", "blueprint"]
