"""The server's settings. gunicorn reads this file from the working directory by itself.

The template's are in src/drydock/server/config.py. A fork's own go below, each as `name = value`:
https://docs.gunicorn.org/en/stable/settings.html
gunicorn ignores a name that it does not know, so a unit test checks each. The hooks that the
template has there are not to be replaced, and what WEB_* variables set is set by them alone.
"""

from app import service
from drydock.server.config import configure

globals().update(configure(service))
