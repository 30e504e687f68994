"""The first of this project's code that Python runs in the image: from here on a stop is handled.

The kernel delivers no signal to process 1 that it has no handler for, and gunicorn sets its own
when the application is loaded, half a second later: a `docker stop` until then would have no
effect, and end with SIGKILL. Not by an exception, which a module that is being imported may catch.
https://docs.python.org/3/library/site.html#module-sitecustomize
"""

import gc
import os
import signal
import sys

if sys.orig_argv[1:2] == ["/opt/venv/bin/gunicorn"]:
    # As the stop of a service that has started.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    # What is imported stays: the garbage collector would only visit it again and again, and leave
    # holes in memory that workers are to share. drydock.server.supervisor turns it on again.
    # https://docs.python.org/3/library/gc.html#gc.freeze
    gc.disable()
elif os.getpid() == 1:
    # As a process other than 1 would end; for example a migration.
    signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
