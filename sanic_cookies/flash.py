"""Messages that wait for the next page: "Saved.", shown once, wherever the redirect leads.

They are kept until somebody reads them, apart from the user's data, and are taken under the
session's lock: of two requests at once, one shows a message and the other does not have it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sanic.request import Request

from .session import session_of

_WAITING = "flash"


class Flash(NamedTuple):
    """A message for the user.

    Attributes:
        category: What kind it is: "message" unless said otherwise.
        message: A text, or any other JSON value.
    """

    category: str
    message: Any


async def flash(
    request: Request,
    message: Any,
    category: str = "message",
    *,
    session_name: str | None = None,
) -> None:
    """Leave a message for the page that the user sees next; a visitor's session begins with it.

    Inside an open block of the session it is kept or rolled back with the rest of the block.

    Args:
        request: The request.
        message: A text, or any other JSON value.
        category: What kind it is, such as "error".
        session_name: In which session; None for the app's first.

    Raises:
        SessionNotSerializable: JSON cannot give the message back equal.
        SessionTooLarge: Nobody reads them, and the session has outgrown `max_bytes`.
        SessionError: What else `async with` of a session raises.
    """
    sess = session_of(request, session_name).of(request)
    async with sess:
        waiting = await sess.kept(_WAITING) or []
        sess.keep(_WAITING, [*waiting, [category, message]])


async def get_flashes(
    request: Request, category: str | None = None, *, session_name: str | None = None
) -> list[Flash]:
    """Take the messages that wait, oldest first; nobody gets them again.

    Nothing is locked, written or begun if there are none. Inside an open block they are taken when
    the block is saved: if it fails, the next page shows them.

    Args:
        request: The request.
        category: Only those of this kind, the others go on waiting; None for all.
        session_name: From which session; None for the app's first.

    Raises:
        SessionError: What `async with` of a session raises; no message is lost then.
    """
    sess = session_of(request, session_name).of(request)
    if not await sess.kept(_WAITING):
        return []
    async with sess:
        waiting = [Flash(*each) for each in await sess.kept(_WAITING) or []]
        taken = [each for each in waiting if category in (None, each.category)]
        left = [list(each) for each in waiting if category not in (None, each.category)]
        sess.keep(_WAITING, left or None)
    return taken
