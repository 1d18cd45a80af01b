"""What is published: complete, described, and without what does not belong there."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import sanic_cookies
from documents import ROOT

TOP = {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "MANIFEST.in", "README.md"}
TOP |= {"SECURITY.md", "mkdocs.yml", "noxfile.py", "pyproject.toml", "setup.cfg", "setup.py"}
TREES = ["benchmarks", "docs", "examples", "sanic_cookies", "tests"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, made from the source distribution as an installer would make it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def _tracked(folder: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", folder],  # noqa: S607 - git, wherever it is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is no repository")
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


def test_source_distribution_is_complete(built: Path) -> None:
    """Whatever is in the repository to build, test and read is there, and nothing else is."""
    [archive] = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}

    assert names >= TOP
    for tree in TREES:
        assert _tracked(tree) <= names
    assert not [name for name in names if name.endswith((".pyc", ".sqlite3")) or "/." in name]


def test_wheel_holds_the_package_only(built: Path) -> None:
    """The wheel has each file of the package, scripts and types too, and no test of ours."""
    [archive] = built.glob("*.whl")
    with zipfile.ZipFile(archive) as wheel:
        names = set(wheel.namelist())

    assert _tracked("sanic_cookies") <= names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"sanic_cookies"}


def test_description_is_in_order(built: Path) -> None:
    """PyPI will show the README, and each fact that people look for is there."""
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir())]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

    [archive] = built.glob("*.whl")
    with zipfile.ZipFile(archive) as wheel:
        [name] = [each for each in wheel.namelist() if each.endswith("/METADATA")]
        facts = message_from_bytes(wheel.read(name))
    # PyPI has none of the files beside the README: what is not absolute leads nowhere from there.
    shown = str(facts.get_payload())
    assert "# sanic_cookies" in shown
    found = re.findall(r'\]\(([^)]+)\)|(?:src|srcset|href)="([^"]+)"', shown)
    assert len(found) > 30
    assert [link for pair in found if not (link := "".join(pair)).startswith("https://")] == []
    urls = {line.partition(",")[0] for line in facts.get_all("Project-URL", [])}
    assert urls >= {"Documentation", "Changelog", "Source", "Issues"}
    assert facts["Version"] == sanic_cookies.__version__
    assert facts["License-Expression"] == "MIT"
    assert facts["Requires-Python"] == ">=3.11"
    extras = set(facts.get_all("Provides-Extra", []))
    assert extras >= {"redis", "postgres", "cookie", "ext", "metrics", "testing", "all"}
    # What an app needs at least: Sanic, its headers, and the library that reads JSON.
    needed = [line for line in facts.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(line.partition(">")[0] for line in needed) == ["msgspec", "multidict", "sanic"]
