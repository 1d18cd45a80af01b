"""`sanic-cookies doctor module:app`: an app's session settings against OWASP ASVS 5.0.

Requirements are named by their number in the Application Security Verification Standard 5.0.0
(https://github.com/OWASP/ASVS/tree/v5.0.0/5.0). The app is imported, not served: nothing is asked
of a store.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, Literal, NamedTuple

from sanic import Sanic

from ..auth.csrf import CsrfGuard
from ..auth.session import AuthSession
from ..interfaces.base import LivesInCookie, SupportsIndex
from ..interfaces.memory.interface import InMemory
from ..session import Session
from .output import Output, Refusal, counted

HOUR, DAY = 3600.0, 24 * 3600.0


class Finding(NamedTuple):
    """Something that could be better.

    Attributes:
        severity: "error" for what is unsafe, "warning" for what is so unless there is a reason,
            "note" for what should be known.
        rule: Number of the requirement; empty if none asks for it.
        what: What was found.
        why: What may come of it.
        change: The line to change.
    """

    severity: Literal["error", "warning", "note"]
    rule: str
    what: str
    why: str
    change: str


Check = Callable[[Any], Iterator[Finding]]


def add_commands(commands: Any) -> None:
    """Add the command."""
    text = "audit the session settings of an app against OWASP ASVS 5.0"
    parser = commands.add_parser("doctor", help=text, description=text)
    parser.add_argument("app", metavar="module:app", help="where the Sanic app, or its factory, is")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_doctor)


async def _doctor(arguments: argparse.Namespace, output: Output) -> int:
    app = _load(arguments.app)
    sessions = [each for each in vars(app.ctx).values() if isinstance(each, Session)]
    if not sessions:
        raise Refusal(f"{arguments.app} has no session: Session(app) or AuthSession(app)")
    found = [(session.name, finding) for session in sessions for finding in audit(session)]
    errors = sum(finding.severity == "error" for _, finding in found)
    lines = [line for name, finding in found for line in _told(name, finding)]
    names = ", ".join(repr(session) for session in sessions)
    others = counted(len(found) - errors, "other finding")
    lines.append(f"{names}: {counted(errors, 'error')}, {others}")
    output.result(
        {"findings": [{"session": name, **finding._asdict()} for name, finding in found]}, *lines
    )
    return 1 if errors else 0


def audit(session: Session) -> list[Finding]:
    """Return what could be better in the settings of a session, the worst first."""
    checks: list[Check] = [_cookie, _lifetime, _stores]
    if isinstance(session, AuthSession):
        checks += [_login, _revocation]
    order = ["error", "warning", "note"]
    found = [finding for check in checks for finding in check(session)]
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _told(name: str, finding: Finding) -> list[str]:
    rule = f" (ASVS 5.0 {finding.rule})" if finding.rule else ""
    return [
        f"{finding.severity}: {name}: {finding.what}{rule}",
        f"    why:    {finding.why}",
        f"    change: {finding.change}",
    ]


def _cookie(session: Session) -> Iterator[Finding]:
    spec = session.settings.cookie
    if spec.secure is False:
        yield Finding(
            *("error", "3.3.1", "the cookie travels over plain http"),
            "whoever sees one request on its way has the session",
            'leave secure= out, or secure="auto"',
        )
    elif not spec.prefix:
        yield Finding(
            *("warning", "3.3.1", "the cookie's name has no prefix"),
            "any host of the domain, or plain http, can set a cookie of this name",
            "leave cookie_prefix= out",
        )
    elif spec.prefix == "__Secure-":
        yield Finding(
            *("warning", "3.3.3", "the cookie is shared with other hosts or bound to a path"),
            "any host of the domain can read or set it",
            'leave domain= and path= out, and the name begins with "__Host-"',
        )
    if not spec.httponly:
        yield Finding(
            *("error", "3.3.4", "scripts can read the cookie"),
            "one injected script takes every session that sees it",
            "leave httponly= out",
        )
    if spec.samesite == "None":
        guarded = any(isinstance(check, CsrfGuard) for check in session.checks)
        yield Finding(
            "warning" if guarded else "error",
            "3.3.2",
            'samesite="None": other sites\' requests carry the cookie',
            "what other sites send is done in the user's name, unless csrf= refuses it",
            'samesite="Lax"' if guarded else 'samesite="Lax", or AuthSession(csrf="token")',
        )


def _lifetime(session: Session) -> Iterator[Finding]:
    policy, is_login = session.settings.policy, isinstance(session, AuthSession)
    if policy.idle is None:
        yield Finding(
            "error" if is_login else "warning",
            *("7.3.1", "no time without use ends a session"),
            "a forgotten browser stays logged in" if is_login else "the store keeps what is dead",
            "expiry=3600" if is_login else "expiry=30 * 24 * 3600",
        )
    elif is_login and policy.idle > HOUR:
        yield Finding(
            *("note", "7.1.1", f"a login may rest for {_long(policy.idle)}"),
            "NIST SP 800-63B-4 allows an hour at AAL2; more wants a written reason",
            "expiry=3600, or write down why not",
        )
    if is_login and policy.absolute is None:
        yield Finding(
            *("error", "7.3.2", "a login that is used never ends"),
            "a stolen cookie works for as long as its thief likes",
            "absolute_timeout=24 * 3600",
        )
    elif is_login and policy.absolute is not None and policy.absolute > DAY:
        yield Finding(
            *("note", "7.1.1", f"a login may last {_long(policy.absolute)}"),
            "NIST SP 800-63B-4 allows 24 hours at AAL2; more wants a written reason",
            "absolute_timeout=24 * 3600, or write down why not",
        )


def _stores(session: Session) -> Iterator[Finding]:
    master = session._interfaces[0]
    if isinstance(master, InMemory):
        yield Finding(
            *("warning", "", "sessions are in the memory of one process"),
            "each worker has its own, and a restart ends them all",
            "Session(app, master_interface=Redis(...)) or AsyncPG(...)",
        )
    if isinstance(master, LivesInCookie) and getattr(master, "revocations", None) is None:
        is_login = isinstance(session, AuthSession)
        yield Finding(
            "error" if is_login else "note",
            *("7.4.1", "what has ended can be used again: it lives in the browser"),
            "a copy of the cookie works after logout until it expires",
            "InCookieEncrypted(key, revocations=Redis(...))",
        )


def _login(session: AuthSession) -> Iterator[Finding]:
    if not any(isinstance(check, CsrfGuard) for check in session.checks):
        yield Finding(
            *("warning", "3.5.1", "requests that other sites forge are not refused"),
            "SameSite=Lax stops foreign forms, not those of other hosts of the same site",
            'csrf="fetch-metadata", unless the app has a guard of its own',
        )
    if session.remember_expiry > 30 * DAY:
        yield Finding(
            *("warning", "7.3.2", f"remembered logins last {_long(session.remember_expiry)}"),
            "NIST SP 800-63B-4 asks for a login every 30 days even at AAL1",
            "remember_expiry=30 * 24 * 3600",
        )


def _revocation(session: AuthSession) -> Iterator[Finding]:
    # Without a list of a user's sessions nothing can end or count them, so it is not advised.
    listed = isinstance(session._interfaces[0], SupportsIndex)
    if session.user_loader is None:
        yield Finding(
            *("note", "7.4.2", "a user who is disabled stays logged in"),
            "nobody asks whether the user is still there",
            "user_loader=..."
            + (", or call logout_everywhere() where users are disabled" if listed else ""),
        )
    if session.session_stamp is None:
        yield Finding(
            *("note", "7.4.3", "a change of password ends no other session"),
            "who has stolen one keeps it",
            "session_stamp=..." + (", or call logout_others() after the change" if listed else ""),
        )
    if session.limit is None:
        yield Finding(
            *("note", "7.1.2", "a user may have any number of sessions"),
            "fine if it is meant so, and written down",
            "max_sessions=..." + ("" if listed else " over Redis(...) or AsyncPG(...)"),
        )


def _long(seconds: float) -> str:
    if seconds >= 2 * DAY:
        return f"{seconds / DAY:g} days"
    return f"{seconds / HOUR:g} hours"


def _load(place: str) -> Sanic[Any, Any]:
    """Import an app.

    Raises:
        Refusal: It cannot be imported, or it is something else.
    """
    module, _, name = place.partition(":")
    if not module or not name:
        raise Refusal("name the app as module:app, for example shop.main:app")
    sys.path.insert(0, str(Path.cwd()))
    try:
        with redirect_stdout(sys.stderr):  # what an app says is not what was found
            found: Any = importlib.import_module(module)
            for part in name.removesuffix("()").split("."):
                found = getattr(found, part)
            if callable(found) and not isinstance(found, Sanic):
                found = found()
    except (Exception, SystemExit) as error:
        # The text of an app's own error is the app's; it is for the person who starts it.
        raise Refusal(f"{place}: {type(error).__name__}: {error}") from error
    if not isinstance(found, Sanic):
        raise Refusal(f"{place} is no Sanic app but {type(found).__name__}")
    return found
