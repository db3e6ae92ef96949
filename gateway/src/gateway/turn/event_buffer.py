"""The events of one answer as encoded frames, as far as this process has them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from enum import Enum, auto


class _End(Enum):
    COMPLETE = auto()
    MOVED = auto()
    LOST = auto()


class EventBuffer:
    """Any number of followers read it, each at its own pace and from any `sequence_number`."""

    def __init__(self, frames: Sequence[str] = ()) -> None:
        self._frames = list(frames)
        self._closed = asyncio.Event()
        self._changed = asyncio.Event()
        self._end = _End.COMPLETE

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def frames(self) -> Sequence[str]:
        return self._frames

    @property
    def is_closed(self) -> bool:
        """No more frames arrive here."""
        return self._closed.is_set()

    @property
    def is_complete(self) -> bool:
        """The last frame is the terminal event."""
        return self._closed.is_set() and self._end is _End.COMPLETE

    @property
    def is_lost(self) -> bool:
        """Redis has lost events that were shown, and they cannot be stored again."""
        return self._end is _End.LOST

    def append(self, frames: Sequence[str], *, ended: bool) -> None:
        """`ended`: the last of the frames is the terminal event."""
        self._frames += frames
        if ended:
            self._closed.set()
        self._wake()

    def close_moved(self) -> None:
        """Without the terminal event: the turn continues on another gateway, or was deleted."""
        self._close(_End.MOVED)

    def close_lost(self) -> None:
        """Without the terminal event: what follows in Redis does not continue what was shown."""
        self._close(_End.LOST)

    def _close(self, end: _End) -> None:
        if not self.is_closed:
            self._end = end
        self._closed.set()
        self._wake()

    async def wait_closed(self) -> None:
        await self._closed.wait()

    async def follow(self, starting_after: int = -1) -> AsyncIterator[str]:
        """Frames with a `sequence_number` above `starting_after`, until the buffer is closed."""
        position = starting_after + 1
        while True:
            while position < len(self._frames):
                yield self._frames[position]
                position += 1
            if self._closed.is_set():
                return
            await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
