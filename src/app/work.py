"""The background process: `app work` calls `step` again and again."""

from __future__ import annotations

from prometheus_client import Gauge
from sqlalchemy import func, select

from drydock.database import Model, transaction

rows = Gauge("app_table_rows", "The rows of a table, when they were last counted.", ("table",))


def step() -> None:
    """Count the rows of each table, for the metrics."""
    with transaction() as session:
        for table in Model.metadata.sorted_tables:
            count = session.scalar(select(func.count()).select_from(table))
            rows.labels(table.name).set(count or 0)
