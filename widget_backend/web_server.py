"""Settings of gunicorn: gunicorn -c python:widget_backend.web_server wsgi:app."""

import signal
from typing import Any

from prometheus_client import multiprocess
from sqlalchemy.exc import DBAPIError

from widget_backend import processes
from widget_backend.config import Config
from widget_backend.extensions import db

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


def when_ready(server: Any) -> None:
    """Have every end pulled: while no web answered, hooks that come only once may have been lost."""
    from jobs.schedules import pull_everything
    from widget_backend import create_app

    with create_app(_config, pool_size=1).app_context():
        try:
            pull_everything()
        except DBAPIError as error:
            server.log.warning("the database does not answer yet: %s", type(error.orig).__name__)
        db.engine.dispose()


def child_exit(server: Any, worker: Any) -> None:
    """Let the counters of a dead web process be only what they were."""
    if _config.metrics_dir:
        multiprocess.mark_process_dead(worker.pid, path=_config.metrics_dir)  # type: ignore[no-untyped-call]
