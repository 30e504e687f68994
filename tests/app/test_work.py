from __future__ import annotations

from typing import TYPE_CHECKING

from app import work
from drydock.database import Model

if TYPE_CHECKING:
    from applications import Build


def test_a_step_counts_the_rows_of_every_table(build: Build) -> None:
    with build().app_context():
        work.step()
    counted = {sample.labels["table"] for m in work.rows.collect() for sample in m.samples}
    assert counted >= set(Model.metadata.tables)
