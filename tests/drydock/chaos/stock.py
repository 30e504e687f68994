"""gunicorn as it comes: the settings that this project's own are compared with."""

import os

bind = "0.0.0.0:" + os.environ["APP_PORT"]
worker_class = "gthread"
workers = 2
threads = 4
# Without these two it does not start in a hardened container, or complains.
worker_tmp_dir = "/dev/shm"
control_socket_disable = True
