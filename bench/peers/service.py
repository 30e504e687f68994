"""The service of the image, with the endpoints that no service should have."""

from __future__ import annotations

import endpoints
from app import create_app

app = create_app()
endpoints.add(app)
