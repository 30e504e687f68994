"""Health: liveness says that the process responds, readiness that it can do its work."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields
from werkzeug.exceptions import ServiceUnavailable

from drydock.api import Blueprint
from drydock.context import current
from drydock.server import state

READY_TIMEOUT = 2.0  # seconds; below the 3 after which an orchestrator's probe usually fails

blueprint = Blueprint("health", __name__, description="Health")


class Health(Schema):
    """That the service responds."""

    status = fields.String(required=True)
    environment = fields.String(required=True)


class Liveness(Schema):
    """That the process responds."""

    status = fields.String(required=True)


class Readiness(Schema):
    """What was checked, and that it is healthy."""

    status = fields.String(required=True)
    checks = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


@blueprint.route("/health")
@blueprint.problems()
@blueprint.response(200, Health)
def health() -> dict[str, str]:
    """Say that the service responds, and from which environment."""
    return {"status": "healthy", "environment": current().settings.app_env}


@blueprint.route("/livez")
@blueprint.problems()
@blueprint.response(200, Liveness)
def livez() -> dict[str, str]:
    """Liveness: checks nothing but this process, so that no outage elsewhere restarts it."""
    return {"status": "ok"}


@blueprint.route("/readyz")
@blueprint.problems(503)
@blueprint.response(200, Readiness)
def readyz() -> dict[str, Any]:
    """Readiness: whether requests should be sent here now."""
    if state.phase() != state.SERVING:
        raise ServiceUnavailable("stopping")
    checks = {}
    if (ask := current().database_problem) is not None:
        if (problem := ask(READY_TIMEOUT)) is not None:
            raise ServiceUnavailable(f"database: {problem}")
        checks["database"] = "ok"
    return {"status": "ok", "checks": checks}
