"""What the package promises to those who install it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from types import ModuleType

import pytest

import sanic_cookies
from sanic_cookies import errors, interfaces
from sanic_cookies.interfaces.cookie.interface import InCookieEncrypted

PACKAGE = Path(sanic_cookies.__file__).parent
ROOT = PACKAGE.parent
NAMES = {
    "Aioredis",
    "AsyncPG",
    "AuthSession",
    "CsrfRefused",
    "GinoAsyncPG",
    "InCookieEncrypted",
    "InMemory",
    "Interface",
    "LoginRequired",
    "Redis",
    "ResponseStarted",
    "Session",
    "SessionConfigError",
    "SessionDict",
    "SessionError",
    "SessionInfo",
    "SessionInterrupted",
    "SessionLimitReached",
    "SessionLockLost",
    "SessionLockTimeout",
    "SessionNotLoaded",
    "SessionNotSerializable",
    "SessionShapeMismatch",
    "SessionStoreError",
    "SessionTooLarge",
    "SessionUnavailable",
    "Typed",
    "flash",
    "get_flashes",
    "login_required",
    "watch",
}
DRIVERS = ["redis", "asyncpg", "cryptography"]
WITHOUT_DRIVERS = f"""
import sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {DRIVERS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
"""


def run(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run this Python with `arguments`, by default where the package is."""
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def modules() -> list[ModuleType]:
    found = pkgutil.walk_packages([str(PACKAGE)], "sanic_cookies.")
    return [importlib.import_module(each.name) for each in found if "__main__" not in each.name]


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_promised_name_is_there(name: str) -> None:
    """Each public name can be imported from the package and is listed."""
    assert getattr(sanic_cookies, name) is not None
    assert name in sanic_cookies.__all__


def test_the_list_of_names_is_sorted_and_has_no_surprises() -> None:
    """What `import *` gives are names that can be had, each once."""
    assert set(sanic_cookies.__all__) >= NAMES
    assert len(set(sanic_cookies.__all__)) == len(sanic_cookies.__all__)
    for name in sanic_cookies.__all__:
        assert hasattr(sanic_cookies, name)


def test_every_error_is_public() -> None:
    """Whatever can be raised can be caught by a name of the package."""
    for name, kind in vars(errors).items():
        if inspect.isclass(kind) and issubclass(kind, errors.SessionError):
            public = [each for each in kind.__mro__ if each.__name__ in sanic_cookies.__all__]
            assert public, name


def test_the_older_librarys_names_are_the_same_classes() -> None:
    """`Aioredis` and `GinoAsyncPG` are other names, not other things."""
    assert sanic_cookies.Aioredis is sanic_cookies.Redis is interfaces.Redis
    assert sanic_cookies.GinoAsyncPG is sanic_cookies.AsyncPG is interfaces.AsyncPG


@pytest.mark.parametrize("module", [sanic_cookies, interfaces])
def test_an_unknown_name_is_an_attribute_error(module: ModuleType) -> None:
    """A name that is nowhere gives Python's own error."""
    with pytest.raises(AttributeError, match="has no attribute 'Aioredi'"):
        module.Aioredi  # noqa: B018 - the access is the test


def test_the_package_imports_without_any_driver() -> None:
    """A plain installation works: no driver is imported before it is asked for."""
    done = run("-c", f"{WITHOUT_DRIVERS}\nimport sanic_cookies\nsanic_cookies.Session()")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("Redis", "redis"),
        ("Aioredis", "redis"),
        ("AsyncPG", "postgres"),
        ("GinoAsyncPG", "postgres"),
        ("InCookieEncrypted", "cookie"),
    ],
)
@pytest.mark.parametrize("package", ["sanic_cookies", "sanic_cookies.interfaces"])
def test_an_interface_without_its_driver_names_the_extra(
    package: str, name: str, extra: str
) -> None:
    """The error says what to install, in a line that can be copied."""
    done = run("-c", f"{WITHOUT_DRIVERS}\nfrom {package} import {name}")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: ")
    assert done.stderr.splitlines()[-1].endswith(f"pip install 'sanic-cookies[{extra}]'")


def test_the_sanic_command_shows_which_driver_is_missing(tmp_path: Path) -> None:
    """`sanic shop:app` ends with our error, not with one of its own."""
    (tmp_path / "shop.py").write_text(f"{WITHOUT_DRIVERS}\nfrom sanic_cookies import AsyncPG")
    done = run("-m", "sanic", "shop:app", "--single-process", cwd=tmp_path)

    assert done.returncode == 1
    assert "TypeError" not in done.stderr
    assert "pip install" in done.stderr


def metadata() -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_the_extras_that_errors_name_exist() -> None:
    """What an error says to install can be installed, and `all` has all of it."""
    extras = metadata()["options.extras_require"]

    for extra, driver in zip(["redis", "postgres", "cookie"], DRIVERS, strict=True):
        assert driver in extras[extra]
        assert f"%({extra})s" in extras["all"]


def test_every_file_of_the_package_is_packaged() -> None:
    """`py.typed`, Lua and SQL go into the wheel: each data file is matched by `package_data`."""
    patterns = [each.strip() for each in metadata()["options.package_data"]["*"].split(",")]
    packaged = {
        file
        for folder in (file.parent for file in PACKAGE.rglob("__init__.py"))
        for pattern in patterns
        for file in folder.glob(pattern)
    }
    files = {file for file in PACKAGE.rglob("*.*") if "__pycache__" not in file.parts}

    assert PACKAGE / "py.typed" in packaged
    assert {file.suffix for file in packaged} == {".typed", ".lua", ".sql"}
    assert {file for file in files - packaged if file.suffix != ".py"} == set()


def test_a_key_from_the_command_line() -> None:
    """`python -m sanic_cookies key` prints one key and nothing else."""
    done = run("-m", "sanic_cookies", "key")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\n")
    InCookieEncrypted(done.stdout.rstrip("\n"))


@pytest.mark.parametrize(
    ("arguments", "begins", "table"),
    [
        ([], "CREATE TABLE", "sessions"),
        (["--table", "basket"], "CREATE TABLE", "basket"),
        (["--upgrade"], "ALTER TABLE", "sessions"),
        (["--upgrade", "--table", "basket"], "ALTER TABLE", "basket"),
    ],
)
def test_the_sql_from_the_command_line(arguments: list[str], begins: str, table: str) -> None:
    """`python -m sanic_cookies sql` prints statements ready to be run, for the table asked for."""
    done = run("-m", "sanic_cookies", "sql", *arguments)

    assert (done.returncode, done.stderr) == (0, "")
    assert begins in done.stdout.upper()
    assert table in done.stdout
    assert "{table}" not in done.stdout
    assert done.stdout.rstrip().endswith(";")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: command"),
        (["keys"], "invalid choice: 'keys'"),
        (["key", "more"], "unrecognized arguments: more"),
        (["sql", "--tabel", "x"], "unrecognized arguments: --tabel"),
        (["sql", "--table"], "expected one argument"),
        (["sql", "--table", "Sessions"], "table='Sessions' must be lower case"),
        (["sql", "--table", "a; DROP TABLE b"], "must be lower case letters"),
        (["sql", "--table", ""], "table='' must be"),
        (["sql", "--table", "x" * 60], "must be"),
    ],
)
def test_arguments_that_cannot_be(arguments: list[str], message: str) -> None:
    """Bad arguments give exit status 2, a line that says why, and nothing on standard output."""
    done = run("-m", "sanic_cookies", *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.splitlines()[-1].startswith("sanic-cookies")
    assert "Traceback" not in done.stderr


def test_the_command_line_needs_no_driver() -> None:
    """The SQL is printed on a machine that has no driver, by somebody who only makes tables."""
    code = f"{WITHOUT_DRIVERS}\nfrom sanic_cookies.cli import main\nsys.exit(main(['sql']))"
    done = run("-c", code)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("CREATE TABLE IF NOT EXISTS sessions (")


def documentable() -> list[tuple[str, object]]:
    """Return all that is public and ours: modules, classes, their methods, functions."""
    found: dict[str, object] = {}
    for module in [sanic_cookies, *modules()]:
        found[module.__name__] = module
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", "") != module.__name__:
                continue
            if inspect.isclass(value) or inspect.isfunction(value):
                found[f"{module.__name__}.{name}"] = value
            if inspect.isclass(value):
                for member, inner in vars(value).items():
                    if not member.startswith("_") and (
                        inspect.isfunction(inner) or isinstance(inner, property | classmethod)
                    ):
                        found[f"{module.__name__}.{name}.{member}"] = inner
    return sorted(found.items())


def test_all_that_is_public_is_documented() -> None:
    """Every public module, class, method and function says what it is, in a sentence."""
    things = documentable()
    bare = [name for name, thing in things if not (getattr(thing, "__doc__", None) or "").strip()]

    assert len(things) > 200
    assert bare == []
