"""Where one is while one pages through the list of conversations."""

import hashlib
import re
from dataclasses import dataclass

_TEXT = re.compile(r"(conv_[A-Za-z0-9-]{1,64})\.([0-9]{1,15})\.([0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Cursor:
    """A conversation at the time it was read. Cursors sort as Redis sorts its index: by activity (Unix milliseconds),
    then by the bytes of the id."""

    active_ms: int
    id: str

    def text(self, user_id: str) -> str:
        """It holds the activity: a conversation that was spoken in since stands elsewhere in the list by now."""
        return f"{self.id}.{self.active_ms}.{_tag(user_id, self)}"


def parse_cursor(user_id: str, text: str) -> Cursor | None:
    """None for what is no cursor of this user."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    cursor = Cursor(int(match[2]), match[1])
    return cursor if match[3] == _tag(user_id, cursor) else None


def _tag(user_id: str, cursor: Cursor) -> str:
    """No secret: a foreign cursor is refused like any foreign id, and one's own may outlive its conversation."""
    return hashlib.sha256(f"{user_id} {cursor.id} {cursor.active_ms}".encode()).hexdigest()[:8]
