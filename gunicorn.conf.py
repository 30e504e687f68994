"""The server's settings. gunicorn reads this file from the working directory by itself.

The template's are in src/drydock/server/config.py. A fork's own go below, each as `name = value`:
https://docs.gunicorn.org/en/stable/settings.html
gunicorn ignores a name that it does not know, so a unit test checks each. Do not replace the hooks
that the template sets there, nor set what the WEB_* variables set.
"""

from app import service
from drydock.server.config import configure

globals().update(configure(service))
