"""A load of POSTs on keep-alive connections, from a process of its own: `python -m tests.bench.load <seconds>`, the plan on standard input.

Plan: {"host", "port", "threads", "requests": [{"path", "headers", "body"}]}; each thread takes every n-th request, once. Prints JSON: {"done", "seconds", "failed"}.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
import time
from typing import Any


def main(seconds: float) -> None:
    """Send until the plan or the time is over."""
    plan = json.load(sys.stdin)
    counts = [0] * plan["threads"]
    failed = [0] * plan["threads"]
    begun = time.monotonic()
    threads = [
        threading.Thread(target=_send, args=(plan, at, counts, failed, begun + seconds))
        for at in range(plan["threads"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"done": sum(counts), "failed": sum(failed), "seconds": time.monotonic() - begun}))


def _send(plan: dict[str, Any], at: int, counts: list[int], failed: list[int], until: float) -> None:
    connection = http.client.HTTPConnection(plan["host"], plan["port"], timeout=30)
    for one in plan["requests"][at :: plan["threads"]]:
        if time.monotonic() > until:
            return
        connection.request("POST", one["path"], body=one["body"].encode(), headers=one["headers"])
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            counts[at] += 1
        else:
            failed[at] += 1


if __name__ == "__main__":
    main(float(sys.argv[1]))
