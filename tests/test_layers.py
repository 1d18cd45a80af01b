"""The modules of the package depend on each other in one direction only.

This reads the source and imports nothing. Every import counts: those inside of functions and those
for the type checker only are dependencies too.
"""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

PACKAGE = "sanic_cookies"
ROOT = Path(__file__).parent.parent / PACKAGE

# Lowest first. A module may import those of the rows above its own. Modules are named as inside of
# the package; "__init__" is the package itself.
LAYERS = [
    ["errors", "mistakes", "token", "background", "timers", "meter", "headers"],
    ["record"],
    ["expiry", "codec", "cookies", "content"],
    ["session_dict.changes", "session_dict.plan", "session_dict.lease"],
    ["interfaces.base", "interfaces.wakeups"],
    ["interfaces.news"],
    ["interfaces.ear"],
    ["interfaces.redis", "interfaces.redis.eviction", "interfaces.redis.inspection"],
    ["interfaces.redis.scripts", "interfaces.redis.link"],
    ["interfaces.redis.commands"],
    ["interfaces.redis.wire"],
    ["interfaces.redis.ear"],
    ["interfaces.redis.server"],
    ["interfaces.redis.cluster"],
    ["interfaces.postgres", "interfaces.postgres.statements"],
    ["interfaces.postgres.pool", "interfaces.postgres.rows", "interfaces.postgres.queue"],
    ["interfaces.postgres.lane", "interfaces.postgres.ear"],
    ["interfaces.postgres.joining", "interfaces.postgres.table"],
    ["interfaces.cookie", "interfaces.cookie.keys", "interfaces.cookie.salted"],
    ["interfaces.cookie.seals", "interfaces.cookie.revocations"],
    ["interfaces.cookie.sealed"],
    ["interfaces.memory", "interfaces.memory.shelf"],
    [f"interfaces.{store}.interface" for store in ("memory", "redis", "postgres", "cookie")],
    ["interfaces.guard"],
    ["interfaces.others", "interfaces.reports"],
    ["interfaces.fan_out"],
    ["interfaces.bound"],
    ["interfaces"],
    ["options"],
    ["locks", "settings", "signals", "stats", "hub"],
    ["announcer", "runtime", "exchange"],
    ["request_class"],
    *([f"session_dict.{name}"] for name in ("unanswered", "state", "mapping", "lifetime")),
    *([f"session_dict.{name}"] for name in ("reader", "locker", "planner", "writer")),
    *([f"session_dict.{name}"] for name in ("ending", "block", "telling")),
    ["session_dict"],
    ["wiring"],
    ["setup_checks"],
    ["session"],
    ["flash", "watch", "typed", "auth", "metrics"],
    ["auth.registry", "auth.redirects", "auth.csrf", "auth.site_data", "auth.stamps"],
    ["auth.user_keys", "auth.arguments"],
    ["auth.guards"],
    ["auth.judgement", "auth.protect"],
    ["auth.loader"],
    ["auth.freshness"],
    ["auth.gatekeeper"],
    ["auth.session"],
    ["auth.decorators"],
    ["migration.sources"],
    ["migration.translation"],
    ["migration.upgrade"],
    ["migration"],
    ["ext", "cli", "testing", "__init__", "__main__"],
]

# Packages that count as one module: their parts may import each other.
WHOLE = ["testing", "cli"]

# Imports inside of one layer: the first may import the others.
SAME_LAYER = [
    ["content", "codec"],
    ["expiry", "content"],
    ["__main__", "cli"],
    ["cli", "__init__"],
]

OLD = "migration.sources"

# Other people's packages, and who may import them. Those that are not here are free for all.
FOREIGN = [
    [
        "sanic",
        *(
            "errors",
            "exchange",
            "announcer",
            "request_class",
            "wiring",
            "setup_checks",
            "session",
            "flash",
            "watch",
            "typed",
        ),
        *(f"auth.{name}" for name in ("registry", "redirects", "csrf", "guards", "judgement")),
        *(f"auth.{name}" for name in ("loader", "protect", "freshness", "gatekeeper", "session")),
        "auth.decorators",
        *("migration.translation", "migration.upgrade", "ext", "cli", "testing"),
    ],
    ["sanic_ext", "ext"],
    ["redis", *(f"interfaces.redis.{name}" for name in ("server", "ear", "link", "wire")), OLD],
    ["hiredis", *(f"interfaces.redis.{name}" for name in ("link", "commands", "wire"))],
    ["asyncpg", "interfaces.postgres.pool", OLD],
    ["prometheus_client", "metrics"],
    ["cryptography", "interfaces.cookie.seals", "interfaces.cookie.salted", OLD],
]


def module_files(root: Path) -> dict[str, Path]:
    """Return the modules of a package by their names inside of it, with their files."""
    return {_name(file.relative_to(root)): file for file in sorted(root.rglob("*.py"))}


def _name(path: Path) -> str:
    parts = list(path.with_suffix("").parts)
    # A package is named like its directory; only the topmost has no name to take.
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


def complaints(root: Path, module: str) -> list[str]:
    """Return what is wrong with the imports of a module; nothing if all is well."""
    own = entry(module)
    if own is None:
        return [f"{module} is in no layer: add it to LAYERS in {Path(__file__).name}"]
    found = []
    for line, target in imports(root, module):
        top, _, rest = target.partition(".")
        if top == PACKAGE:
            problem = _inner_problem(own, rest or "__init__")
        else:
            problem = _foreign_problem(own, top)
        if problem:
            found.append(f"{module}, line {line}: {problem}")
    return found


def _inner_problem(own: str, target: str) -> str | None:
    other = entry(target)
    if other is None:
        return f"imports {target}, which is in no layer"
    if other == own or level(other) < level(own):
        return None
    if level(other) > level(own):
        return f"imports {target}, from a higher layer"
    if any(own == row[0] and other in row[1:] for row in SAME_LAYER):
        return None
    return f"imports {target}, from its own layer; SAME_LAYER does not allow that"


def _foreign_problem(own: str, package: str) -> str | None:
    for name, *allowed in FOREIGN:
        if package == name and own not in allowed:
            return f"imports {package}, which only {', '.join(allowed)} may"
    return None


def entry(module: str) -> str | None:
    """Return the name under which a module is in ``LAYERS``: its own, or that of a whole."""
    top = module.partition(".")[0]
    name = top if top in WHOLE else module
    return name if any(name in row for row in LAYERS) else None


def level(name: str) -> int:
    """Return how high the layer is that has this name."""
    return next(number for number, row in enumerate(LAYERS) if name in row)


def imports(root: Path, module: str) -> list[tuple[int, str]]:
    """Return the full names of all modules that a module imports, each with its line."""
    files = module_files(root)
    tree = ast.parse(files[module].read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = _source(node, files[module].relative_to(root))
            for alias in node.names:
                # "from package import name" may take a module or something that is in one.
                member = f"{source}.{alias.name}"
                is_module = member.removeprefix(f"{PACKAGE}.") in files
                found.append((node.lineno, member if is_module else source))
    return found


def _source(node: ast.ImportFrom, path: Path) -> str:
    """Return the full name of what comes after "from"."""
    if not node.level:
        return node.module or ""
    here = [PACKAGE, *path.parent.parts]
    parents = here[: len(here) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])


def test_there_are_modules() -> None:
    """The package was found, so the checks below have something to check."""
    assert "errors" in module_files(ROOT)


@pytest.mark.parametrize("module", module_files(ROOT))
def test_imports_go_downward(module: str) -> None:
    """A module imports only what is below it, and other people's packages only if it may."""
    assert not complaints(ROOT, module)


def test_tables_are_consistent() -> None:
    """A module has one layer, and permissions are for modules that share one."""
    names = Counter(name for row in LAYERS for name in row)
    assert not [name for name, times in names.items() if times > 1]
    assert all(len({level(name) for name in row}) == 1 for row in SAME_LAYER)


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("record", "from .errors import X", None),
        ("record", "from . import errors", None),
        ("record", "import sanic_cookies.errors", None),
        ("interfaces/fan_out", "from ..record import X", None),
        ("interfaces/fan_out", "from .base import X", None),
        ("testing/fake", "from . import other", None),
        ("content", "from . import codec as codecs", None),
        ("interfaces/redis/server", "import redis.asyncio as aioredis", None),
        ("testing/fake", "from sanic.request import Request", None),
        ("__init__", "from .ext import X", "own layer"),
        ("errors", "from .record import X", "higher layer"),
        ("errors", "from sanic_cookies import record", "higher layer"),
        ("errors", "from sanic_cookies import X", "imports __init__, from a higher layer"),
        ("errors", "def late():\n    from . import record", "line 2: imports record"),
        ("errors", "if TYPE_CHECKING:\n    from . import record", "higher layer"),
        ("codec", "from .content import X", "own layer"),
        ("interfaces/memory/interface", "from ..redis import interface", "own layer"),
        ("interfaces/memory/interface", "from ... import session", "higher layer"),
        ("interfaces/guard", "from . import X", "imports interfaces, from a higher layer"),
        ("record", "from .novelty import X", "imports novelty, which is in no layer"),
        ("interfaces/novelty", "", "interfaces.novelty is in no layer"),
        ("novelty", "", "novelty is in no layer: add it to LAYERS in test_layers.py"),
        ("session_dict", "from sanic import Sanic", "imports sanic, which only errors, exchange"),
        ("cli", "import sanic_ext", "imports sanic_ext, which only ext may"),
        ("cli", "import redis.asyncio", "imports redis, which only interfaces.redis"),
    ],
)
def test_check_finds_bad_imports(
    tmp_path: Path, module: str, source: str, complaint: str | None
) -> None:
    """The check itself: it accepts what is allowed and complains about everything else."""
    others = ["__init__", "errors", "record", "codec", "session"]
    others += ["interfaces/redis/server", "interfaces/redis/interface"]
    packages = ["interfaces/__init__", "interfaces/redis/__init__"]
    for name in {*others, *packages, "testing/other", module}:
        file = tmp_path / f"{name}.py"
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(source if name == module else "")
    found = complaints(tmp_path, module.replace("/", "."))
    assert len(found) == (0 if complaint is None else 1), found
    assert complaint is None or complaint in found[0]
