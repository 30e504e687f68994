"""Health: liveness says that the process answers, readiness that it can do its work."""

from __future__ import annotations

from flask import Blueprint, current_app

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def health() -> dict[str, str]:
    """Say that the service answers, and from which environment."""
    return {"status": "healthy", "environment": current_app.extensions["settings"].app_env}


@blueprint.get("/livez")
def livez() -> dict[str, str]:
    """Liveness: asks nothing but this process, so that no outage elsewhere restarts it."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> dict[str, str]:
    """Readiness: whether requests should be sent here now."""
    return {"status": "ok"}
