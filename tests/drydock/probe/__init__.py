"""The service that the template's tests are about, in place of a fork's own, which may be any.

Here it is the package `probe`; in a container it is laid over the image as the package `app`
(containers.probe), so that nothing in it names itself. In an image without a database it keeps its
notes in a file, by Python's own sqlite3, so that nearly all tests hold for such an image, too.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import drydock

if TYPE_CHECKING:
    from flask import Flask

HAS_DATABASE = importlib.util.find_spec("sqlalchemy") is not None

service = drydock.Service(
    __name__,
    settings=f"{__name__}.settings:Settings",
    parts=(f"{__name__}.hello", f"{__name__}.notes"),
    migrations=f"{__name__}.migrations" if HAS_DATABASE else None,
    work=f"{__name__}.work:step",
)


def create_app(settings: drydock.BaseSettings | None = None) -> Flask:
    """Build the application. A function, for `flask run` takes no method.

    Raises:
        SystemExit: with one clear line for each thing that is wrong with the environment.

    """
    return service.create_app(settings)
