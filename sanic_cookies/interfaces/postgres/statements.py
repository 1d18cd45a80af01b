"""The SQL of `AsyncPG`, one statement a file; to be read and printed without its driver."""

from __future__ import annotations

import re
from pathlib import Path

from ...errors import SessionConfigError

_SQL = Path(__file__).parent / "sql"
_TABLE = re.compile(r"[a-z_][a-z0-9_]{0,47}")

_STEPS = (
    *("fetch", "acquire", "commit", "release"),
    *("create", "renew", "touch", "delete", "sweep", "records_of", "lock_user", "lock_sessions"),
    *("page", "census", "expired", "is_made"),
)


def sql(name: str, table: str = "sessions") -> str:
    """Return a statement of this interface.

    Args:
        name: `create_table`, `upgrade_table`, or another file in the folder `sql`.
        table: The table's name; lower case letters, digits and `_`.

    Raises:
        SessionConfigError: `table` is not such a name.
    """
    if not _TABLE.fullmatch(str(table)):
        schema = "; a schema is chosen by search_path" if "." in str(table) else ""
        raise SessionConfigError(
            f"table={table!r} must be lower case letters, digits and '_'{schema}"
        )
    return (_SQL / f"{name}.sql").read_text("utf-8").replace("{table}", table)


def steps(table: str) -> dict[str, str]:
    """Return the statements that sessions are read and written with, by their names.

    Raises:
        SessionConfigError: No table can be called so.
    """
    return {name: sql(name, table) for name in _STEPS}
