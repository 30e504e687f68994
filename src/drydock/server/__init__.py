"""gunicorn, as this service runs it: docs/server.md says how, this list says where.

In the arbiter: `hooks` (settings, slots), `limits` (how many workers), `supervisor` (stop, reload,
crashes), and `state`, which it shares with its workers.

In a worker: `worker` (gunicorn's side, which puts the parts together), `loop` and `poller` (the
main loop), `acceptor` and `listener` (new connections), `lifecycle` (a connection's states, with
`connection`, `framing`, `responses`, `probe` and `linger`), `pool`, `lead` and `exchange` (the
threads, and which of them runs the loop), `bounds`, `ledger` and `rejections` (deadlines, memory,
what is counted), `shutdown` and `process_exit` (the end).

In both: `logger` and `log_output`. `strict` rejects what gunicorn's parser lets pass.
"""
