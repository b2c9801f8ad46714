"""The bare handler that hooks are measured against: the same server, an HMAC over the body, one committed INSERT, nothing else."""

from __future__ import annotations

import hashlib
import hmac
import os
import threading

import psycopg
from flask import Flask, Response, request

KEY = b"bench"  # also in __main__.py, which must not import this module: it wants its own environment
_INSERT = "insert into bench_bare (digest, body) values (%s, %s)"

_local = threading.local()
app = Flask(__name__)


@app.post("/bare")
def bare() -> Response:
    """Check the signature, keep the body, answer."""
    body = request.get_data(cache=False)
    if not hmac.compare_digest(hmac.new(KEY, body, hashlib.sha256).hexdigest(), request.headers.get("X-Signature", "")):
        return Response("forbidden", 403)
    if not hasattr(_local, "connection"):
        _local.connection = psycopg.connect(os.environ["BENCH_DATABASE_URL"], autocommit=True)
    _local.connection.execute(_INSERT, (hashlib.sha256(body).hexdigest(), body), prepare=True)
    return Response("ok", content_type="text/plain")
