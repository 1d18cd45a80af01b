"""Run a command with a Redis of its own: python tests/with_redis.py COMMAND [ARGUMENT ...]."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from servers import RedisServer


def main(command: list[str]) -> int:
    """Run `command` with REDIS_URL set; return how it ended."""
    with RedisServer() as server:
        program = subprocess.Popen(command, env={**os.environ, "REDIS_URL": server.url})
        # Ctrl-C reaches the command, too; what it still has to do it does with its Redis.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: program.terminate())
        return program.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
