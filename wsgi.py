"""What a WSGI server loads: gunicorn wsgi:app."""

from widget_backend import create_app

app = create_app()
