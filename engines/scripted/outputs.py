"""The two ways to send an answer: as events while it is generated, or as one body."""

from engines.scripted.chunks import DONE, Chunks, error_event, to_json
from engines.scripted.connection import Connection, frame, partial_frame
from engines.scripted.errors import ScriptedStatus
from engines.scripted.script import Cut


class EventStream:
    def __init__(self, connection: Connection, chunks: Chunks) -> None:
        self._connection = connection
        self._chunks = chunks
        self._ready: list[bytes] = []
        connection.open_stream()

    @property
    def is_congested(self) -> bool:
        return self._connection.is_congested

    def write(self, start: int, stop: int) -> None:
        if start == 0 and (opening := self._chunks.opening()):
            self._ready.append(frame(opening))
        if event := self._chunks.delta(start, stop):
            self._ready.append(frame(event))

    def flush(self) -> None:
        if self._ready:
            self._connection.send(b"".join(self._ready))
            self._ready.clear()

    def finish(self, start: int) -> None:
        opening = self._chunks.opening() if start == 0 else b""
        self._end(opening, self._chunks.last(start), self._chunks.closing(), DONE)

    def fail(self) -> None:
        self._end(error_event(ScriptedStatus(500).body()), DONE)

    def cut(self, start: int, cut: Cut) -> None:
        if cut.inside == "char":
            start = self._write_until_multibyte(start)
        event = self._chunks.delta(start, start + 1)
        length = 0 if cut.inside == "gap" else self._cut_position(event, cut)
        if cut.by == "end":
            self._ready.append(frame(event[:length]) if length else b"")
            self._end()
            return
        self.flush()
        self._connection.drop(partial_frame(event, length) if length else b"", cut.by)

    def _end(self, *events: bytes) -> None:
        self._ready.extend(frame(event) for event in events if event)
        self.flush()
        self._connection.close_stream()

    def _write_until_multibyte(self, start: int) -> int:
        found = self._chunks.first_multibyte(start)
        for token in range(start, found):
            self.write(token, token + 1)
        return found

    @staticmethod
    def _cut_position(event: bytes, cut: Cut) -> int:
        wide = next((place for place, byte in enumerate(event) if byte >= 0x80), None)
        return wide + 1 if cut.inside == "char" and wide is not None else len(event) // 2


class WholeBody:
    """Sends nothing before the last token."""

    is_congested = False

    def __init__(self, connection: Connection, body: object) -> None:
        self._connection = connection
        self._body = to_json(body)

    def write(self, start: int, stop: int) -> None:
        pass

    def flush(self) -> None:
        pass

    def finish(self, start: int) -> None:
        self._connection.respond(200, self._body, "application/json")

    def fail(self) -> None:
        failure = ScriptedStatus(500)
        self._connection.respond(failure.status, to_json(failure.body()), "application/json")

    def cut(self, start: int, cut: Cut) -> None:
        self._connection.drop(b"", cut.by)
