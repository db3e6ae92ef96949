"""A position in the list of conversations, for the next page."""

import hashlib
import re
from dataclasses import dataclass

_CURSOR = re.compile(r"(conv_[A-Za-z0-9-]{1,64})\.([0-9]{1,15})\.([0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A conversation at the time it was read. Cursors sort as Redis sorts its index: by activity (Unix milliseconds),
    then by the bytes of the id."""

    active_ms: int
    id: str

    def encode(self, user_id: str) -> str:
        """With the activity: a conversation with a new message has moved in the list since."""
        return f"{self.id}.{self.active_ms}.{_tag(user_id, self)}"


def parse_cursor(user_id: str, text: str) -> Cursor | None:
    """None for anything but a cursor of this user."""
    match = _CURSOR.fullmatch(text)
    if match is None:
        return None
    cursor = Cursor(int(match[2]), match[1])
    return cursor if match[3] == _tag(user_id, cursor) else None


def _tag(user_id: str, cursor: Cursor) -> str:
    """Not a secret: another user's cursor is refused like any foreign id, and a user's own may outlive its
    conversation."""
    return hashlib.sha256(f"{user_id} {cursor.id} {cursor.active_ms}".encode()).hexdigest()[:8]
