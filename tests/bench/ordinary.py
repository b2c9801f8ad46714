"""What the exchange is measured against: one RQ job per message on ordinary, forking RQ workers, doing the same steps one after another.

`python -m tests.bench.ordinary` is such a worker. The application is made before it forks, as one does.
"""

from __future__ import annotations

import rq
from flask import Flask

from widget_backend import create_app
from widget_backend.bridge import deliver, inbox, lanes, runtime

QUEUE = "ordinary"
_app: Flask | None = None


def carry() -> None:
    """Carry one message over the whole road: read one hook, deliver whatever became due."""
    assert _app is not None
    with _app.app_context():
        runtime.get().engine.dispose(close=False)  # a forked child must not speak on its parent's connections
        for lease in inbox.take(1):
            inbox.work(lease, limit=1)
            inbox.release(lease)
        for batch in lanes.take(1):
            deliver.deliver(batch, may_go_on=lambda: True)


def main() -> None:
    """Work until killed."""
    global _app
    import tests.bench.ordinary as module  # jobs find this module under its own name, not as __main__

    module._app = _app = create_app(pool_size=2)
    with _app.app_context():
        rq.Worker([QUEUE], connection=runtime.get().redis).work(logging_level="WARNING")


if __name__ == "__main__":
    main()
