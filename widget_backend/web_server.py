"""Settings of gunicorn: gunicorn -c python:widget_backend.web_server wsgi:app."""

import signal
from typing import Any

from widget_backend import processes
from widget_backend.config import Config

_config = Config.from_env()

bind = f"{_config.web_host}:{_config.web_port}"
worker_class = "gthread"
workers = _config.web_workers
threads = _config.web_threads
backlog = 2048
timeout = 60
graceful_timeout = 20
keepalive = 15
accesslog = None
loglevel = _config.log_level
control_socket_disable = True
proc_name = "mostik-web"


def post_fork(server: Any, worker: Any) -> None:
    """Let a worker finish and go when its master is killed, so that the next master finds the port free."""
    processes.die_with_parent(signal.SIGTERM)
