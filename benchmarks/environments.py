"""A virtual environment for each framework, in `.bench/`, built when it is first needed.

    python -m benchmarks.environments        builds all of them

What goes into each stands in `benchmarks/peers/*.txt`, with versions. A changed file, or a changed
`setup.cfg` where we ourselves are installed, builds that one anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".bench"
PINS = ROOT / "benchmarks" / "peers"
VERSIONS = """
import json
from importlib.metadata import distributions
print(json.dumps({each.name.lower().replace("_", "-"): each.version for each in distributions()}))
"""


def names() -> list[str]:
    """Return the names of all environments."""
    return sorted(file.stem for file in PINS.glob("*.txt"))


def python(name: str) -> Path:
    """Return the interpreter of an environment."""
    return CACHE / name / "bin" / "python"


def fingerprint(name: str) -> str:
    """Return what an environment depends on, as a hash."""
    content = (PINS / f"{name}.txt").read_bytes() + sys.version.encode()
    if b"-e ." in content:
        content += (ROOT / "setup.cfg").read_bytes()
    return hashlib.sha256(content).hexdigest()


def build(name: str) -> None:
    """Build an environment, unless it stands as it should.

    Raises:
        RuntimeError: pip has failed; its own words are in the message.
    """
    stamp = CACHE / name / ".built"
    if stamp.exists() and stamp.read_text() == fingerprint(name):
        return
    print(f"building the environment of {name}", file=sys.stderr)
    shutil.rmtree(CACHE / name, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(CACHE / name))
    _run(str(python(name)), "-m", "pip", "install", "-q", "-r", str(PINS / f"{name}.txt"))
    stamp.write_text(fingerprint(name))


def build_all(wanted: list[str]) -> None:
    """Build some environments, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(build, wanted))


def versions(name: str) -> dict[str, str]:
    """Return the version of each distribution in an environment."""
    # From its own folder: in ours, what is being developed would count as installed twice.
    command = [python(name), "-c", VERSIONS]
    out = subprocess.run(command, check=True, capture_output=True, text=True, cwd=CACHE).stdout
    found: dict[str, str] = json.loads(out)
    return found


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} has failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    build_all(names())
