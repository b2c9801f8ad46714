"""`make bench`: the budgets of design.md 8, each as a ratio in one run on this machine; prints a table and writes var/bench.json.

`python -m tests.bench [name ...]` runs some of: hooks, latency, throughput, limit, memory, journal, click, amocrm, card.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import psutil
import psycopg

from tests.bench import amocrm, card, fleet, journal
from tests.bench.figures import Figure
from tests.bench.fleet import Tenant
from tests.stack import ROOT, Process, Stack, running, wait_for
from widget_backend.bridge import life
from widget_backend.database import plain_url
from widget_backend.local_secrets import free_port

LATENCY_MS = 100
BARE_KEY = b"bench"
LIMIT_MESSAGES = 8000
MEMORY_MESSAGES = int(os.environ.get("BENCH_MEMORY_MESSAGES", "100000"))


def hooks() -> list[Figure]:
    """Accepting hooks against the bare handler: same gunicorn settings, same bodies, same load, taken in turns."""
    with running(is_durable=True) as stack:
        tenant = _vk_only(stack)
        for name in ("exchange-1", "exchange-2", "cron", "schedules"):
            stack.kill(name)  # only the accepting is measured
        port = _start_bare(stack)
        rates: dict[str, list[float]] = {"bare": [], "hooks": []}
        for turn in range(3):
            rates["bare"].append(_load(port, _bare_requests(turn)))
            rates["hooks"].append(_load(stack.config.web_port, _hook_requests(stack, tenant, turn)))
    ratio = statistics.median(rates["hooks"]) / statistics.median(rates["bare"])
    details = f"hooks {_rates(rates['hooks'])}, bare {_rates(rates['bare'])} requests/s"
    return [Figure("accepting hooks / bare handler", ratio, "x", ">= 0.85", ratio >= 0.85, details)]


def latency() -> list[Figure]:
    """From the customer's message to its arrival in the CRM: 50 messages/s over so many portals that no limit binds."""
    with running(is_durable=True) as stack:
        tenants = fleet.make(stack, 60)
        for tenant, user in fleet.spread(tenants, 120):
            fleet.say(stack, tenant, user, "hello")
        fleet.settle_down(stack, 120, within_s=120)
        time.sleep(30)  # the portals' buckets start empty: let them fill
        _slow_down(stack)
        said: dict[str, float] = {}

        def speak(number: int) -> None:
            tenant, user = tenants[number % len(tenants)], f"user{number % len(tenants)}-0"
            text = f"m{number}"
            said[text] = time.time()
            fleet.say(stack, tenant, user, text)

        with ThreadPoolExecutor(8) as pool:
            begun = time.monotonic()
            for number in range(1000):
                time.sleep(max(0.0, begun + number / 50 - time.monotonic()))
                pool.submit(speak, number)
        fleet.settle_down(stack, 1120, within_s=60)
        shown = {item["text"]: item["real_at"] for item in stack.ledger("bitrix24", "message")}
    waits = sorted((shown[text] - at) * 1000 for text, at in said.items())
    median, worst = statistics.median(waits), waits[int(len(waits) * 0.99)]
    note = f"of which the portal's own {LATENCY_MS} ms; longest {waits[-1]:.0f} ms"
    return [
        Figure("hook to CRM, median", median, "ms", "< 250", median < 250, note),
        Figure("hook to CRM, 99th percentile", worst, "ms", "< 1000", worst < 1000, note),
    ]


def throughput() -> list[Figure]:
    """The whole road, many accounts, against one RQ job per message on two ordinary RQ workers."""
    with running(is_durable=True) as stack:
        tenants = fleet.make(stack, 20)
        fleet_size = _warm(stack, tenants)
        _slow_down(stack)
        ours = _carry(stack, tenants, 3000, fleet_size)
        shown = fleet_size + 3000
        for name in ("exchange-1", "exchange-2", "cron", "schedules"):
            stack.kill(name)
        theirs = _carry_ordinary(stack, tenants, 200, shown)
    ratio = ours / theirs
    details = f"{ours:.0f} messages/s against {theirs:.1f}"
    return [Figure("whole road / one job per message", ratio, "x", ">= 15", ratio >= 15, details)]


def limit() -> list[Figure]:
    """One portal with its leaky bucket and a backlog: how much of the limit is used, and whether it is ever exceeded."""
    with running(is_durable=True) as stack:
        tenant = fleet.make(stack, 1, plan="standard")[0]
        users = [f"user{number}" for number in range(120)]
        for user in users:
            fleet.say(stack, tenant, user, "hello")
        fleet.settle_down(stack, len(users), within_s=120)
        stack.control("bitrix24", "faults", outage=True)
        for number in range(LIMIT_MESSAGES):
            fleet.say(stack, tenant, users[number % len(users)], f"m{number}")
        time.sleep(3)
        before = len(stack.ledger("bitrix24", "call"))
        stack.control("bitrix24", "faults", outage=False)
        wait_for(lambda: len(stack.ledger("bitrix24", "call")) > before + 3, within_s=90, what="the first call")
        time.sleep(30)  # the burst that an idle bucket allows is over
        begun, counted = time.monotonic(), len(stack.ledger("bitrix24", "call"))
        time.sleep(30)
        calls, seconds = len(stack.ledger("bitrix24", "call")) - counted, time.monotonic() - begun
        backlog = LIMIT_MESSAGES + len(users) - fleet.shown(stack)
        refused = [item for item in stack.ledger("bitrix24", "refusal") if "QUERY_LIMIT" in json.dumps(item)]
    used = calls / seconds / 2.0
    details = f"{calls} calls in {seconds:.0f} s at 2/s, {len(refused)} refused by the portal, {backlog} still waiting"
    return [
        Figure("use of a rate limit under a backlog", used, "x", ">= 0.95", used >= 0.95 and backlog > 0, details),
        Figure("calls above the limit", len(refused), "", "0", not refused, details),
    ]


def memory() -> list[Figure]:
    """Memory of a worker after many messages, against what it had after the first tenth.

    The hooks are kept by what the door keeps them with, without HTTP, and nobody waits for a disk: it is the worker's memory that is asked for.
    Ends are pulled so often that everything a worker does now and then has been done in the first tenth.
    """
    with running(MOSTIK_EXCHANGE_PULL_S="15") as stack:
        tenants = fleet.make(stack, 12)
        count = _warm(stack, tenants)
        tenth, begun = MEMORY_MESSAGES // 10, time.monotonic()
        sizes, threads = [], []
        for step in range(10):
            _carry_kept(stack, tenants, tenth, count + step * tenth)
            sizes.append(_rss(stack))
            threads.append(max(one.num_threads() for one in _workers(stack).values()))
        rate = 10 * tenth / (time.monotonic() - begun)
    growth = max(sizes[-1][name] / sizes[0][name] for name in sizes[0])
    told = ", ".join(f"{max(size.values()) >> 20} ({count})" for size, count in zip(sizes, threads, strict=True))
    details = f"the larger worker after every {tenth} messages, MiB (threads): {told}; {rate:.0f} messages/s"
    return [Figure("memory of a worker, growth", growth, "x", "<= 1.10", growth <= 1.10, details)]


# ----------------------------------------------------------------------------------------------------------------- parts


def _vk_only(stack: Stack) -> Tenant:
    account = stack.make_account()
    community = stack.control("vk", "make", title="acme")
    channel = stack.connect_vk(account, community)
    return Tenant(account, channel, community, {})


def _start_bare(stack: Stack) -> int:
    port = free_port()
    with psycopg.connect(plain_url(stack.config.database_owner_url)) as connection:
        connection.execute("create table bench_bare (id bigint generated always as identity, digest text, body bytea)")
    environ = {**os.environ, "BENCH_DATABASE_URL": plain_url(stack.config.database_url)}
    command = [sys.executable, "-m", "gunicorn", "tests.bench.bare:app", "-b", f"127.0.0.1:{port}", "-k", "gthread"]
    command += ["-w", str(stack.config.web_workers), "--threads", str(stack.config.web_threads), "--keep-alive", "15"]
    stack.processes["bare"] = Process("bare", [*command, "--log-level", "warning"], environ)
    stack.start("bare")
    time.sleep(3)
    return port


def _body(number: str, group_id: str, secret: str) -> str:
    message = {
        "id": 1,
        "date": 1700000000,
        "peer_id": 1,
        "from_id": 1,
        "out": 0,
        "text": f"hello {number}",
        "attachments": [],
    }
    event = {"type": "message_new", "group_id": int(group_id), "event_id": number, "v": "5.199", "secret": secret}
    return json.dumps({**event, "object": {"message": message, "client_info": {}}})


def _bare_requests(turn: int) -> list[dict[str, object]]:
    made = []
    for number in range(4000):
        body = _body(f"bare-{turn}-{number}", "1", "x" * 32)
        signature = hmac.new(BARE_KEY, body.encode(), hashlib.sha256).hexdigest()
        made.append(
            {"path": "/bare", "headers": {"X-Signature": signature, "Content-Type": "application/json"}, "body": body}
        )
    return made


def _hook_requests(stack: Stack, tenant: Tenant, turn: int) -> list[dict[str, object]]:
    end = life.snapshot(tenant.account_id, tenant.channel_id)
    path = end.hook_url.removeprefix(stack.url)
    headers = {"Content-Type": "application/json"}
    return [
        {
            "path": path,
            "headers": headers,
            "body": _body(f"hook-{turn}-{number}", end.remote_id, end.secrets["callback_secret"]),
        }
        for number in range(4000)
    ]


def _load(port: int, requests: list[dict[str, object]]) -> float:
    plan = json.dumps({"host": "127.0.0.1", "port": port, "threads": 12, "requests": requests})
    command = [sys.executable, "-m", "tests.bench.load", "30"]
    done = json.loads(subprocess.run(command, input=plan, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
    assert not done["failed"], done
    return float(done["done"]) / float(done["seconds"])


def _slow_down(stack: Stack) -> None:
    for peer in ("vk", "bitrix24"):
        stack.control(peer, "faults", latency_ms=LATENCY_MS)


def _warm(stack: Stack, tenants: list[Tenant]) -> int:
    """Let every customer write once, so that clients, chats and connections exist."""
    count = len(tenants) * 25
    for tenant, user in fleet.spread(tenants, count):
        fleet.say(stack, tenant, user, "hello")
    fleet.settle_down(stack, count, within_s=180)
    return count


def _carry(stack: Stack, tenants: list[Tenant], count: int, before: int) -> float:
    """Say so many messages as fast as they are taken; return messages per second until the last is shown."""
    begun = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda place: fleet.say(stack, place[0], place[1], "x"), fleet.spread(tenants, count)))
    return count / (fleet.settle_down(stack, before + count, within_s=600) - begun)


def _carry_kept(stack: Stack, tenants: list[Tenant], count: int, before: int) -> None:
    """Keep so many hooks, never more than a few seconds' work ahead, and wait until they are all shown."""
    done = 0
    while done < count:
        chunk = min(2400, count - done)
        for number, tenant in enumerate(tenants):
            mine = range(done + number, done + chunk, len(tenants))
            fleet.keep_hooks(tenant, [(place // len(tenants) % 25, f"m{before + place}") for place in mine])
        done += chunk
        fleet.settle_down(stack, before + done - 1200, within_s=120)
    fleet.settle_down(stack, before + count, within_s=120)


def _carry_ordinary(stack: Stack, tenants: list[Tenant], count: int, before: int) -> float:
    """The same with two ordinary RQ workers: one job a message, each carrying it over the whole road."""
    import rq
    from redis import Redis

    environ = stack.processes["web"].environ
    for name in ("ordinary-1", "ordinary-2"):
        command = [sys.executable, "-m", "tests.bench.ordinary"]
        stack.processes[name] = Process(name, command, environ)
        stack.start(name)
    for tenant, user in fleet.spread(tenants, count):
        fleet.say(stack, tenant, user, "y")
    time.sleep(5)
    queue = rq.Queue("ordinary", connection=Redis.from_url(stack.config.redis_url))
    begun = time.monotonic()
    for _number in range(count):
        queue.enqueue("tests.bench.ordinary.carry")
    # the last few may wait for a sweep, which these workers do not have
    counted = count * 9 // 10
    return counted / (fleet.settle_down(stack, before + counted, within_s=300) - begun)


def _rss(stack: Stack) -> dict[str, int]:
    return {name: int(worker.memory_info().rss) for name, worker in _workers(stack).items()}


def _workers(stack: Stack) -> dict[str, psutil.Process]:
    names = [name for name in stack.processes if name.startswith("exchange")]
    return {name: psutil.Process(stack.processes[name].running.pid) for name in names}  # type: ignore[union-attr]


def _rates(rates: list[float]) -> str:
    return ", ".join(f"{rate:.0f}" for rate in rates)


MEASURES: dict[str, Callable[[], list[Figure]]] = {
    "hooks": hooks,
    "latency": latency,
    "throughput": throughput,
    "limit": limit,
    "memory": memory,
    "journal": journal.measure,
    "click": card.click,
    "amocrm": amocrm.measure,
    "card": card.opening,
}


def main(names: list[str]) -> None:
    """Measure, print a table, write var/bench.json."""
    figures: list[Figure] = []
    for name in names or list(MEASURES):
        print(f"{name} ...", flush=True)
        for figure in MEASURES[name]():
            figures.append(figure)
            kept = ("kept" if figure.is_kept else "MISSED") if figure.budget else ""
            told = (
                f"budget {figure.budget:8} {kept:7} {figure.details}" if figure.budget else f"{'':24}{figure.details}"
            )
            print(f"{figure.what:52} {figure.value:9.2f} {figure.unit:3} {told}", flush=True)
    path = Path("var/bench.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps([asdict(figure) for figure in figures], indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
