"""Counters and timings of this process, under the same names as the log events; what only the database knows is asked at /metrics."""

from prometheus_client import Counter, Histogram

hooks = Counter("mostik_hooks_total", "Hooks by adapter and what became of them", ["adapter", "outcome"])
hook_seconds = Histogram(
    "mostik_hook_seconds",
    "Time from a hook's arrival to its answer",
    ["adapter"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5),
)
events = Counter("mostik_events_total", "Events by adapter and kind", ["adapter", "kind"])
app_parts = Counter(
    "mostik_app_parts_total",
    "Parts of hooks that came to an app's door, by what became of them",
    ["adapter", "outcome"],
)
attempts = Counter(
    "mostik_attempts_total", "Outside calls of deliveries by adapter and outcome", ["adapter", "outcome"]
)
