"""The peers' application: Flask alone, with the same bytes as the service that it is beside."""

from __future__ import annotations

from flask import Flask

import endpoints

app = Flask(__name__)
endpoints.add(app)


@app.get("/hello/<name>")
def hello(name: str) -> dict[str, str]:
    """Greet somebody."""
    return {"message": f"Hello, {name}!", "environment": "production"}


@app.get("/livez")
def livez() -> dict[str, str]:
    """Say that the process responds."""
    return {"status": "ok"}
