"""Mostik's Flask application: create_app wires it and holds no logic."""

from pathlib import Path

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from widget_backend import crypto
from widget_backend.config import Config
from widget_backend.extensions import api, babel, db, migrate

LOCALES_DIR = Path(__file__).parent.parent / "widget_frontend" / "locales"


def create_app(config: Config | None = None, *, pool_size: int | None = None) -> Flask:
    """Make the application; without a config the environment says what it is.

    Shape: pool_size is the number of database connections this process may keep; the web's own by default.
    """
    config = config or Config.from_env()
    app = Flask(__name__, template_folder="../widget_frontend/pages/templates", static_folder=None)
    app.config.from_mapping(flask_settings(config, pool_size=pool_size or config.web_pool_size))
    app.extensions["mostik"] = config
    crypto.configure(crypto.KeyRing.of(config.keys))
    if config.proxies_count:
        count = config.proxies_count
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    db.init_app(app)
    migrate.init_app(app, db)
    babel.init_app(app)
    api.init_app(app)

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """Say that this process answers; readiness is another question."""
        return {"status": "ok"}

    return app


def flask_settings(config: Config, *, pool_size: int) -> dict[str, object]:
    """Give the settings of Flask and its extensions."""
    return {
        "SECRET_KEY": config.secret_key,
        "MAX_CONTENT_LENGTH": config.max_body_bytes,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": config.public_url.startswith("https://"),
        "PERMANENT_SESSION_LIFETIME": config.session_hours * 3600,
        "SQLALCHEMY_DATABASE_URI": config.database_url,
        "SQLALCHEMY_ENGINE_OPTIONS": {"pool_size": pool_size, "max_overflow": 0, "pool_pre_ping": True},
        "BABEL_DEFAULT_LOCALE": "ru",
        "BABEL_TRANSLATION_DIRECTORIES": str(LOCALES_DIR),
        "API_TITLE": "Mostik",
        "API_VERSION": "v1",
        "OPENAPI_VERSION": "3.1.0",
    }
