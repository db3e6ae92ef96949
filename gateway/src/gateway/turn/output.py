"""The items of one answer as they grow: deltas of the engine go in, events of the wire come out."""

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.errors import EngineFailed
from gateway.inference import OutputDelta, ReasoningTextDelta, TextDelta, ToolCallDelta
from gateway.protocol import events as e
from gateway.protocol.ids import ItemPrefix, item_id_in, new_call_id
from gateway.protocol.items import (
    FunctionCall,
    ItemStatus,
    Message,
    OutputItem,
    OutputText,
    Reasoning,
    ReasoningText,
)

# An answer reserves this many positions in its thread, so it cannot have more items.
MAX_OUTPUT_ITEMS = 128


@dataclass(slots=True)
class _OpenItem:
    """The item that grows."""

    kind: type[OutputDelta]
    id: str
    index: int
    parts: list[str] = field(default_factory=list)
    name: str = ""
    call_id: str = ""
    call_index: int = 0

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def item(self, status: ItemStatus) -> OutputItem:
        is_new = status == "in_progress"  # its content part has an event of its own
        if self.kind is ToolCallDelta:
            return FunctionCall(self.id, self.call_id, self.name, self.text, status)
        if self.kind is ReasoningTextDelta:
            return Reasoning(self.id, status, content=() if is_new else (ReasoningText(self.text),))
        return Message(self.id, "assistant", status, () if is_new else (OutputText(self.text),))


class Output:
    """One item at a time is open; a delta of another kind, or of another call, closes it and opens the next."""

    def __init__(self, take_number: Callable[[], int], response_id: str, position: int) -> None:
        """`take_number` returns the next `sequence_number`. The items take the positions from `position` on."""
        self._take_number = take_number
        self._response_id = response_id
        self._position = position
        self._closed: list[OutputItem] = []
        self._open: _OpenItem | None = None
        self._held_whitespace = ""

    def items(self, status: ItemStatus) -> tuple[OutputItem, ...]:
        """All of them; an open one has `status`."""
        return (*self._closed, self._open.item(status)) if self._open else tuple(self._closed)

    def replay(self, event: e.Event) -> None:
        """Applies an event that an earlier owner of the turn has logged."""
        match event:
            case e.OutputItemAdded(item=item, output_index=index):
                self._open = _reopened(item, index)
            case e.OutputItemDone(item=item):
                self._closed.append(item)
                self._open = None
            case e.OutputTextDelta() | e.ReasoningDelta() | e.ArgumentsDelta():
                if self._open is not None:
                    self._open.parts.append(event.delta)

    @property
    def open_kind(self) -> type[OutputDelta] | None:
        return self._open.kind if self._open else None

    def restart(self) -> None:
        """Held white space will be generated again."""
        self._held_whitespace = ""

    def add(self, delta: OutputDelta) -> list[e.Event]:
        """No events for a delta without text, as of a character whose bytes are incomplete."""
        text = delta.arguments if isinstance(delta, ToolCallDelta) else delta.text
        if isinstance(delta, TextDelta) and not self._continues(delta):
            text = self._without_leading_whitespace(text)
        if not text and not (isinstance(delta, ToolCallDelta) and delta.name):
            return []
        if self._continues(delta):
            return self._append(text)
        self._check_new_item(delta)
        events = [*self.close("completed"), *self._open_item(delta)]
        return [*events, *self._append(text)] if text else events

    def close(self, status: ItemStatus) -> list[e.Event]:
        if self._open is None:
            return []
        now, self._open = self._open, None
        item = now.item(status)
        self._closed.append(item)
        where = (now.id, now.index)
        done: list[e.Event]
        if now.kind is ToolCallDelta:
            done = [e.ArgumentsDone(self._take_number(), *where, now.name, now.text)]
        elif now.kind is ReasoningTextDelta:
            done = [
                e.ReasoningDone(self._take_number(), *where, 0, now.text),
                e.ContentPartDone(self._take_number(), *where, 0, ReasoningText(now.text)),
            ]
        else:
            done = [
                e.OutputTextDone(self._take_number(), *where, 0, now.text),
                e.ContentPartDone(self._take_number(), *where, 0, OutputText(now.text)),
            ]
        return [*done, e.OutputItemDone(self._take_number(), now.index, item)]

    def close_with_message(self, status: ItemStatus) -> list[e.Event]:
        """An answer without output gets an empty message, since clients expect one."""
        if not self._closed and self._open is None:
            return [*self._open_item(TextDelta("")), *self.close(status)]
        return self.close(status)

    def _without_leading_whitespace(self, text: str) -> str:
        """White space alone opens no message: models put line ends between reasoning, calls and text."""
        self._held_whitespace += text
        if not self._held_whitespace.strip():
            return ""
        text, self._held_whitespace = self._held_whitespace, ""
        return text.lstrip() if self._closed or self._open else text

    def _continues(self, delta: OutputDelta) -> bool:
        now = self._open
        if now is None or now.kind is not type(delta):
            return False
        return not isinstance(delta, ToolCallDelta) or delta.index == now.call_index

    def _check_new_item(self, delta: OutputDelta) -> None:
        """Before it takes a number, so that the sequence has no gap. Raises EngineFailed."""
        if len(self.items("completed")) == MAX_OUTPUT_ITEMS:
            raise EngineFailed(f"the model called more than {MAX_OUTPUT_ITEMS - 1} functions at once")
        if isinstance(delta, ToolCallDelta) and not delta.name:
            raise EngineFailed("the model called a function without a name")

    def _open_item(self, delta: OutputDelta) -> list[e.Event]:
        index = len(self._closed)
        prefix: ItemPrefix = (
            "fc" if isinstance(delta, ToolCallDelta) else "rs" if isinstance(delta, ReasoningTextDelta) else "msg"
        )
        now = _OpenItem(type(delta), item_id_in(self._response_id, prefix, self._position + index), index)
        if isinstance(delta, ToolCallDelta):
            now.name, now.call_index, now.call_id = delta.name or "", delta.index, new_call_id()
        self._open = now
        added = e.OutputItemAdded(self._take_number(), index, now.item("in_progress"))
        if isinstance(delta, ToolCallDelta):
            return [added]
        part = ReasoningText("") if isinstance(delta, ReasoningTextDelta) else OutputText("")
        return [added, e.ContentPartAdded(self._take_number(), now.id, index, 0, part)]

    def _append(self, text: str) -> list[e.Event]:
        now = self._open
        assert now is not None  # noqa: S101 - for the type checker: _open_item came first
        now.parts.append(text)
        if now.kind is ToolCallDelta:
            return [e.ArgumentsDelta(self._take_number(), now.id, now.index, text)]
        if now.kind is ReasoningTextDelta:
            return [e.ReasoningDelta(self._take_number(), now.id, now.index, 0, text)]
        return [e.OutputTextDelta(self._take_number(), now.id, now.index, 0, text)]


def _reopened(item: OutputItem, index: int) -> _OpenItem:
    match item:
        case FunctionCall():
            return _OpenItem(ToolCallDelta, item.id, index, name=item.name, call_id=item.call_id)
        case Reasoning():
            return _OpenItem(ReasoningTextDelta, item.id, index)
        case Message():
            return _OpenItem(TextDelta, item.id, index)
