"""Mostik's Flask application: create_app wires it and holds no logic."""

from datetime import timedelta
from importlib.metadata import version

from flask import Flask
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from sqlalchemy import Engine
from werkzeug.middleware.proxy_fix import ProxyFix

import oauth.models  # noqa: F401  (its tables belong to the schema)
from oauth import arrivals as oauth_arrivals
from oauth import routes as oauth_routes
from widget_backend import api, crypto, files, health, hooks, logs, outside, pages, problems
from widget_backend.bridge import runtime
from widget_backend.config import Config
from widget_backend.extensions import db, migrate
from widget_backend.pages import embedded, panel

REDIS_TIMEOUT_S = 450  # RQ's workers block on a pop for minutes


def create_app(config: Config | None = None, *, pool_size: int | None = None, pre_ping: bool = True) -> Flask:
    """Make the application; without a config the environment says what it is.

    Shape: pool_size is the number of database connections this process may keep; the web's own by default. pre_ping: try each before use; the exchange,
    which tries again whatever a restart of the database broke, spares itself that round trip.
    """
    config = config or Config.from_env()
    app = Flask(__name__, template_folder="../widget_frontend/pages/templates", static_folder=None)
    app.config.from_mapping(flask_settings(config, pool_size=pool_size or config.web_pool_size, pre_ping=pre_ping))
    app.extensions["mostik"] = config
    crypto.configure(crypto.KeyRing.of(config.keys))
    app.wsgi_app = hooks.Door(app.wsgi_app)  # type: ignore[method-assign]
    if config.proxies_count:
        count = config.proxies_count
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    logs.configure(config.log_level)
    db.init_app(app)
    migrate.init_app(app, db)
    api.register(app)
    problems.register(app)
    with app.app_context():
        configure_bridge(config, db.engine)
    doors = (embedded.blueprint, panel.blueprint, oauth_routes.blueprint, oauth_arrivals.blueprint)
    for blueprint in (*doors, files.blueprint, health.blueprint, pages.blueprint):
        app.register_blueprint(blueprint)
    app.after_request(pages.secure)
    return app


def configure_bridge(config: Config, engine: Engine) -> None:
    """Set what the rooms below Flask work with in this process."""
    # a command on a Valkey that is away fails fast: who called knows what to do, and nobody's lease runs out waiting
    redis = Redis.from_url(config.redis_url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=2)
    quick = Redis.from_url(config.redis_url, socket_timeout=2, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0))
    runtime.configure(config, engine, redis)
    outside.configure(
        outside.Settings(
            user_agent=f"Mostik/{version('mostik')} (+{config.public_url})",
            private_hosts=config.outside_private_hosts,
            valkey=quick,
            connect=timedelta(seconds=config.outside_connect_s),
            read=timedelta(seconds=config.outside_read_s),
            max_answer_bytes=config.outside_max_answer_bytes,
        )
    )
    files.configure(files.Store(config.files_dir, config.public_url))


def flask_settings(config: Config, *, pool_size: int, pre_ping: bool) -> dict[str, object]:
    """Give the settings of Flask and its extensions."""
    return {
        "SECRET_KEY": config.secret_key,
        "MAX_CONTENT_LENGTH": config.max_body_bytes,
        "SESSION_COOKIE_NAME": "mostik",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": config.public_url.startswith("https://"),
        "PERMANENT_SESSION_LIFETIME": config.session_hours * 3600,
        "SESSION_REFRESH_EACH_REQUEST": False,
        "SQLALCHEMY_DATABASE_URI": config.database_url,
        "SQLALCHEMY_ENGINE_OPTIONS": {
            "pool_size": pool_size,
            "max_overflow": 0,
            "pool_pre_ping": pre_ping,
            "hide_parameters": True,
        },
        "API_TITLE": "Mostik",
        "API_VERSION": "v1",
        "OPENAPI_VERSION": "3.1.0",
        "OPENAPI_URL_PREFIX": "/api/v1",
        "OPENAPI_JSON_PATH": "openapi.json",
    }
