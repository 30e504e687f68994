"""Puts the application together: the template's parts and the service's own."""

from __future__ import annotations

import contextlib
import platform
from typing import TYPE_CHECKING, cast

from flask import Flask, request
from werkzeug.exceptions import NotFound, SecurityError

from drydock import api, context, errors, health, info, logs, metrics, middleware, tracing
from drydock.server.logger import PROBES
from drydock.variables import EXTENSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from drydock.settings import BaseSettings, Settings


def build(
    package: str,
    import_parts: Callable[[], Iterable[api.Blueprint]],
    settings: BaseSettings,
    *,
    has_database: bool,
    versions: Path | None,
) -> Flask:
    """Build the application of `package`: its parts, and the settings where each finds them.

    `import_parts` is called once Flask is set up; `versions` is the folder of its migrations.

    Raises:
        drydock.database.DatabaseError: if the embedded database can't be created.
        drydock.failures.StartError: if tracing is asked for in a way that can't be.

    """
    logs.configure(settings)
    about = info.collect(settings)
    traces = tracing.begin(about)
    metrics.build.labels(about.version, settings.app_revision or "", platform.python_version()).set(
        1
    )

    # Neither templates nor static files: a file that appears there must not be served.
    app = Flask(package, static_folder=None, template_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    # A path with two slashes is one that does not exist, and no redirect.
    app.url_map.merge_slashes = False
    engine = database_problem = None
    if has_database:
        # Imported here: a service without a database does without what it needs, too.
        from drydock import database, outages

        with_database = cast("Settings", settings)
        database.prepare(with_database, versions)
        engine = database.connect(with_database)
        database_problem = database.Probe(engine, versions).problem
        outages.init_app(app)
    app.extensions[EXTENSION] = context.State(
        settings=settings,
        info=about,
        database=engine,
        database_problem=database_problem,
        span=traces.span if traces else contextlib.nullcontext,
    )
    app.before_request(_note_route)
    if settings.trusted_hosts:
        app.before_request(_check_host)
    errors.init_app(app)
    documented = api.init_app(app, title=about.name, version=about.version)
    for blueprint in (*import_parts(), health.blueprint):
        documented.register_blueprint(blueprint)

    # From the inside out: the application, its ids and counts, its span, who the client is, the
    # metrics.
    app.wsgi_app = middleware.Observe(app.wsgi_app)  # type: ignore[method-assign]
    if traces:
        if engine is not None:
            traces.watch(engine)
        app.wsgi_app = traces.middleware(app.wsgi_app)  # type: ignore[method-assign]
    if settings.trusted_proxies:
        app.wsgi_app = middleware.TrustedProxies(  # type: ignore[method-assign]
            app.wsgi_app, settings.trusted_proxies, use_host=bool(settings.trusted_hosts)
        )
    if settings.metrics_port:
        app.wsgi_app = metrics.MetricsPort(app.wsgi_app, settings.metrics_port)  # type: ignore[method-assign]
    return app


def _check_host() -> None:
    """Reject a host that is not the service's.

    Not by Flask's own TRUSTED_HOSTS. That knows no exception: a probe names the address that it
    asks, and no list can have those of all replicas. Nor does it know that `SHOP.example` is
    `shop.example`, nor an IPv6 address.
    """
    hosts = context.current().settings.trusted_hosts
    host = request.environ.get("HTTP_HOST", "")
    if request.path not in PROBES and not middleware.is_among(host, hosts):
        raise SecurityError("This service does not serve the host.")


def _note_route() -> None:
    """Leave the route's template, and not the path, for the metrics."""
    if request.environ["PATH_INFO"].startswith("//"):
        raise NotFound  # werkzeug merges those at the beginning, whatever the map says
    if request.url_rule is not None:
        request.environ["app.route"] = api.route_template(request.url_rule.rule)
