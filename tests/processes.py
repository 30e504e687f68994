"""Programs that a test starts, and that are gone when it ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def heed_interrupts() -> None:
    """Have SIGINT its usual meaning here, and so in all that is started from here.

    A shell that is not interactive starts what it runs in the background with SIGINT ignored, which
    every process inherits: a `make dev` that a test interrupts would go on for ever.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextlib.contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a program in a session of its own; in the end kill what is left of it, and reap it.

    Who is not reaped shows as a ResourceWarning later on, and fails another test.
    """
    with subprocess.Popen(command, text=True, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):  # there is nothing left
                os.killpg(process.pid, signal.SIGKILL)
