"""The guards of logins, for `guards.py`: name, file, guard, what is left without it, test."""

from __future__ import annotations

CSRF, GUARDING = "../app/test_csrf.py::", "../app/test_auth_guard.py::"
LOGINS = [
    (
        "what other sites send is refused",
        "auth/csrf.py",
        '_OURS = frozenset({"same-origin", "none"})',
        '_OURS = frozenset({"same-origin", "none", "same-site", "cross-site"})',
        CSRF + "a_foreign_page_sends",
    ),
    (
        "a second Sec-Fetch-Site is heard",
        "auth/csrf.py",
        "if sites and _OURS.issuperset(sites):",
        "if sites and not _OURS.isdisjoint(sites):",
        CSRF + "second_word",
    ),
    (
        "sockets are judged like forms",
        "auth/csrf.py",
        "(request.method in _SAFE and not websocket)",
        "request.method in _SAFE",
        CSRF + "opens_no_socket",
    ),
    (
        "a form's token is compared",
        "auth/csrf.py",
        "if not compare_digest(_xor(raw[:_SIZE], raw[_SIZE:]), _signature(seed)):",
        "if False:",
        CSRF + "of_one_session and memory",
    ),
    (
        "a login replaces a form's token",
        "content.py",
        "        self.extra.pop(CSRF_SEED, None)\n",
        "",
        CSRF + "login_replaces_it and memory",
    ),
    (
        "nobody is sent to another site",
        "auth/redirects.py",
        "_HOSTLIKE.match(path) or ",
        "",
        "../app/test_auth_next.py::lead_elsewhere",
    ),
    (
        "HEAD is guarded",
        "auth/guards.py",
        'EXEMPT = frozenset({"OPTIONS"})',
        'EXEMPT = frozenset({"OPTIONS", "HEAD"})',
        GUARDING + "head",
    ),
    (
        "what inherits from a public view is not public",
        "auth/protect.py",
        "if PUBLIC in vars(view):",
        "if hasattr(view, PUBLIC):",
        "../app/test_auth_protect.py::shut_but",
    ),
    (
        "a changed stamp ends sessions",
        "auth/judgement.py",
        "return None if is_good else CHANGED, newest",
        "return None, newest",
        "../app/test_auth_users.py::changed_stamp_ends and memory",
    ),
    (
        "a remembered login is not fresh in another run",
        "auth/freshness.py",
        "return any(compare_digest(_digest(each), kept) for each in given if each)",
        "return True",
        "../app/test_auth_fresh.py::made_up and memory",
    ),
    (
        "only the user's own sessions are revoked",
        "auth/registry.py",
        "(user is None or record.user_key != self._listed_key(user))",
        "user is None",
        "../app/test_registry.py::nobody_else_s and memory",
    ),
    (
        "nobody revokes nothing",
        "auth/registry.py",
        "if user is not ANYBODY and (user is None or ",
        "if user is not ANYBODY and (",
        "../app/test_registry.py::nobody_revokes and memory",
    ),
    (
        "a socket ends with the login",
        "watch.py",
        "if isinstance(session, Session) and session.settings.auth_key is not None:",
        "if False:",
        "../app/test_watch.py::login_is_watched and memory",
    ),
    (
        "no error quotes what a session holds",
        "typed.py",
        "raise mismatch from None",
        "raise mismatch from error",
        "../app/test_typed.py::value_is_logged",
    ),
    (
        "an old id opens nothing after the grace",
        "migration/upgrade.py",
        "grace=settings.rotation_grace,",
        "grace=1e6,",
        "../migration/test_migration.py::dead_afterwards",
    ),
]
