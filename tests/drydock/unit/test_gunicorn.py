"""What is relied on of gunicorn beyond what it documents.

drydock.server was written for one version of gunicorn, and measured with it. Another one is no
failure, for a security release has to be taken on the day on which it appears: what has changed is
a warning, shown at the end. Read that, compare, measure, then update the version and the digest.
Until then stock gthread serves without any of this: GUNICORN_CMD_ARGS="--worker-class gthread".
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
import warnings
from typing import TYPE_CHECKING

import gunicorn
import pytest
from gunicorn import arbiter, util
from gunicorn.http import message, parser, unreader, wsgi
from gunicorn.workers import base, gthread

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = "27.0.1"


def code(function: Callable[..., object]) -> str:
    """A digest of what a function does: its syntax tree, without comments and docstrings."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    # ast.dump() differs between versions of Python; what unparse() writes does not.
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()[:12]


@pytest.mark.parametrize(
    ("function", "digest", "who"),
    [
        (
            arbiter.Arbiter.run,
            "05396dedcc1b",
            "Supervisor: handlers are looked up on the object by name",
        ),
        (
            arbiter.Arbiter.stop,
            "6d282da14304",
            "Supervisor.end: closes its listeners, sends SIGTERM, waits",
        ),
        (
            arbiter.Arbiter.halt,
            "085a1c5d94ec",
            "Supervisor.note_end: HaltServer's status and reason",
        ),
        (
            arbiter.Arbiter.reap_workers,
            "55215f7ac96a",
            "hooks.child_exit: called for each that has ended",
        ),
        (
            arbiter.Arbiter.manage_workers,
            "abe69ba248bd",
            "Supervisor.reload, .replace: ends the oldest first",
        ),
        (
            arbiter.Arbiter.murder_workers,
            "9ea65f8d320b",
            "Supervisor.kill_hung: looked up on the object",
        ),
        (
            arbiter.Arbiter.spawn_worker,
            "a80369bcdbb6",
            "hooks.pre_fork; Worker's way to run() and out",
        ),
        (base.Worker.__init__, "dca9622e1bc2", "Worker.__init__"),
        (base.Worker.init_process, "177e2efd8e92", "Worker.init_process: calls run() last"),
        (base.Worker.init_signals, "d155fbf2197b", "Worker.init_signals"),
        (
            base.Worker.handle_error,
            "25d086c9036e",
            "Worker: write_error() with the exchange for a socket",
        ),
        (gthread.ThreadWorker.__init__, "a4d7ac17eeec", "Worker.__init__: what is never used"),
        (
            gthread.ThreadWorker.init_process,
            "85ea9093f830",
            "Worker.init_process: what is left out",
        ),
        (gthread.ThreadWorker.handle, "29dc1a8d601d", "Worker._serve"),
        (gthread.ThreadWorker.handle_request, "b88a0588ec72", "Worker.handle_request"),
        (parser.Parser.__init__, "1be2dfb727e0", "Worker._serve"),
        (parser.Parser.__next__, "bd81554c887d", "Worker._serve"),
        (parser.Parser.finish_body, "f45c06ae7121", "Worker._keepalive_after"),
        (unreader.Unreader.unread, "4e5adf90290b", "Worker._serve"),
        (unreader.Unreader.take_buffered, "10fd7d61db48", "Worker._serve"),
        (unreader.SocketUnreader.chunk, "6333e08ff40c", "Exchange.recv"),
        (message.Message.should_close, "b1e05ef6f5d7", "Worker.handle_request"),
        (message.Message.set_body_reader, "39c7bbc8d8b8", "Frame: what has a body"),
        (wsgi.create, "885d39aec3ca", "Worker.handle_request: _expected_100_continue"),
        (wsgi.Response.should_close, "9c108b7e187c", "Worker.handle_request"),
        (wsgi.Response.start_response, "f357516ec35b", "hooks.post_request: response_length"),
        (wsgi.Response.write, "c7991dc75dce", "hooks.post_request: sent"),
        (wsgi.Response.default_headers, "f41680b6e57a", "Worker.handle_request"),
        (wsgi.Response.write_file, "740113170e8f", "Exchange: has no sendfile()"),
        (util.close_graceful, "27bea91dbdb3", "Exchange.shutdown"),
        (util.write, "a59c3b84d22d", "Exchange.sendall"),
        (util.write_chunk, "c67683f93f52", "Exchange.sendall"),
        (util.write_nonblock, "916c68ba0a0c", "write_error"),
    ],
    ids=lambda value: getattr(value, "__qualname__", ""),
)
def test_what_is_relied_on_is_as_it_was(
    function: Callable[..., object], digest: str, who: str
) -> None:
    if gunicorn.__version__ == VERSION:
        assert code(function) == digest, who
    elif code(function) != digest:
        changed = f"{function.__module__}.{function.__qualname__}"
        warnings.warn(f"gunicorn {gunicorn.__version__} has changed {changed}: {who}", stacklevel=1)
