"""The bare handler that hooks are measured against: the same server, an HMAC over the body, one committed INSERT, nothing else."""

from __future__ import annotations

import hashlib
import hmac
import os

from flask import Flask, Response, request
from sqlalchemy import create_engine, text

KEY = b"bench"  # also in __main__.py, which must not import this module: it wants its own environment
_INSERT = text("insert into bench_bare (digest, body) values (:digest, :body)")

engine = create_engine(os.environ["BENCH_DATABASE_URL"], pool_size=10, max_overflow=0)
app = Flask(__name__)


@app.post("/bare")
def bare() -> Response:
    """Check the signature, keep the body, answer."""
    body = request.get_data(cache=False)
    if not hmac.compare_digest(hmac.new(KEY, body, hashlib.sha256).hexdigest(), request.headers.get("X-Signature", "")):
        return Response("forbidden", 403)
    with engine.begin() as connection:
        connection.execute(_INSERT, {"digest": hashlib.sha256(body).hexdigest(), "body": body})
    return Response("ok", content_type="text/plain")
