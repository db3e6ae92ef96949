"""Append, then deliver: one pipeline in flight a process carries the events of all its turns.

While a round trip is under way the next pieces gather, and neighbours become one event. So a lone reader sees every
token at once, and a busy server writes a few times a second and turn (an XADD a token costs as much CPU as all the rest
of relaying it).
"""

import asyncio
import logging
from collections.abc import Sequence

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from gateway.errors import InternalError, ParleyError
from gateway.generation import Called, Piece, Thought, Tokens, merged
from gateway.protocol.events import Delta, Event
from gateway.turn import Ending, Step, Turn
from gateway.turn_log.entries import Entry
from gateway.turn_log.frames import Frames
from gateway.turn_log.keys import log_key

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.1
# Of a turn whose gateway died and that nobody took over.
_ABANDONED_SECONDS = 86_400


class TurnLog:
    """One turn's events on their way: steps go in, and come out as frames once they are kept."""

    def __init__(self, turn: Turn, writer: "Writer") -> None:
        self.turn = turn
        self.frames = Frames()
        request = turn.request
        self.key = log_key(request.user_id, request.response_id) if request.stored else None
        self._writer = writer
        self._pieces: list[Piece] = []
        self._entries: list[Entry] = []
        self._token_ids: tuple[int, ...] = ()
        self._fault: ParleyError | None = None

    def append(self, step: Step) -> None:
        """Raises what an earlier piece of the engine's could not be made into."""
        if isinstance(step, Tokens | Thought | Called):
            if self._fault is not None:
                raise self._fault
            self._pieces.append(step)
        else:
            self._settle()
            self._entries += [Entry(event) for event in self.turn.step(step)]
        self._writer.wake(self)

    def finish(self, ending: Ending) -> list[Entry]:
        """The last events, for `add` once the answer they tell of is in history."""
        self._settle()
        return [Entry(event) for event in self.turn.step(ending)]

    def add(self, entries: Sequence[Entry]) -> None:
        self._entries += entries
        self._writer.wake(self)

    def take(self) -> list[Entry]:
        self._settle()
        entries, self._entries = self._entries, []
        return entries

    def _settle(self) -> None:
        """What a piece without text was made of belongs to the next delta: a log never ends inside a character."""
        pieces, self._pieces = self._pieces, []
        for piece in merged(pieces):
            self._token_ids += piece.token_ids
            for event in self._shown(piece):
                if isinstance(event, Delta):
                    self._entries.append(Entry(event, self._token_ids))
                    self._token_ids = ()
                else:
                    self._entries.append(Entry(event))

    def _shown(self, piece: Piece) -> Sequence[Event]:
        """One turn's fault is not the others', whose events go the same way."""
        try:
            return self.turn.step(piece)
        except ParleyError as exc:
            self._fault = exc
        except Exception:
            logger.exception("a piece of an answer could not be shown", extra={"log": self.key})
            self._fault = InternalError()
        return []


class Writer:
    def __init__(self, redis: Redis, *, kept_seconds: int) -> None:
        """`kept_seconds`: how long the events of a finished answer can be read again."""
        self._redis = redis
        self._kept_seconds = kept_seconds
        self._dirty: dict[TurnLog, None] = {}
        self._woken = asyncio.Event()

    def open(self, turn: Turn) -> TurnLog:
        return TurnLog(turn, self)

    def wake(self, log: TurnLog) -> None:
        self._dirty[log] = None
        self._woken.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            logs, self._dirty = self._dirty, {}
            taken = [(log, log.take()) for log in logs]
            await self._keep([(log.key, entry) for log, entries in taken if log.key for entry in entries])
            for log, entries in taken:
                if entries:
                    log.frames.append([entry.frame for entry in entries], ended=entries[-1].is_last)

    async def _keep(self, entries: Sequence[tuple[str, Entry]]) -> None:
        """Returns when all of them are there, however long Redis is away: an entry has one id, so trying again adds
        nothing twice."""
        while entries:
            try:
                answers = await self._add(entries)
            except RedisError as exc:
                logger.warning("events wait: redis does not answer", extra={"error": str(exc)})
            else:
                entries = [entry for entry, answer in zip(entries, answers, strict=True) if not _is_there(answer)]
            if entries:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _add(self, entries: Sequence[tuple[str, Entry]]) -> list[object]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, entry in entries:
                pipe.xadd(key, entry.fields(), id=entry.id)  # type: ignore[arg-type]
            for key, entry in entries:
                if entry.is_last:
                    pipe.expire(key, self._kept_seconds)
                elif entry.event.sequence_number == 0:
                    pipe.expire(key, _ABANDONED_SECONDS)
            return (await pipe.execute(raise_on_error=False))[: len(entries)]


def _is_there(answer: object) -> bool:
    """Redis refuses an id that is not above the last one: then an earlier try has added it."""
    if isinstance(answer, ResponseError) and "equal or smaller" in str(answer):
        return True
    if isinstance(answer, Exception):
        logger.warning("an event waits: redis refuses it", extra={"error": str(answer)})
        return False
    return True
