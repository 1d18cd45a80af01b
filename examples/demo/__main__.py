"""Serve the demo at http://127.0.0.1:8000, or at PORT; over https with the files in TLS_CERTS."""

from __future__ import annotations

import os
import socket
import sys

from sanic import Sanic
from sanic.worker.loader import AppLoader

from .app import create_app
from .stores import workers


def main() -> None:
    """Serve until Ctrl-C."""
    port, certificates = int(os.environ.get("PORT") or 8000), os.environ.get("TLS_CERTS")
    require_free(port)
    loader = AppLoader(factory=create_app)  # each worker makes an app of its own
    app = loader.load()
    app.prepare("127.0.0.1", port, workers=workers(), ssl=certificates, motd=False)
    print(f"Open {'https' if certificates else 'http'}://127.0.0.1:{port} (Ctrl-C ends it)")
    Sanic.serve(app, app_loader=loader)


def require_free(port: int) -> None:
    """Say in one line what Sanic would say in thirty."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            sys.exit(f"Port {port} cannot be used ({error.strerror}): choose another, PORT=8080.")


if __name__ == "__main__":
    main()
