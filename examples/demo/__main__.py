"""Serve the demo at http://127.0.0.1:8000, or at PORT; over https with the files in TLS_CERTS."""

from __future__ import annotations

import os

from sanic import Sanic
from sanic.worker.loader import AppLoader

from .app import create_app
from .stores import workers


def main() -> None:
    """Serve until Ctrl-C."""
    port, certificates = int(os.environ.get("PORT", "8000")), os.environ.get("TLS_CERTS")
    loader = AppLoader(factory=create_app)  # each worker makes an app of its own
    app = loader.load()
    app.prepare("127.0.0.1", port, workers=workers(), ssl=certificates, motd=False)
    print(f"Open {'https' if certificates else 'http'}://127.0.0.1:{port} (Ctrl-C ends it)")
    Sanic.serve(app, app_loader=loader)


if __name__ == "__main__":
    main()
