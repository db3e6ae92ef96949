"""The items of one answer as they grow: pieces of the engine go in, events of the wire come out."""

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

# So many positions of its conversation an answer takes, and it can not have more items.
MAX_OUTPUT_ITEMS = 128


@dataclass(slots=True)
class _Open:
    """The item that grows at the moment."""

    kind: type[OutputDelta]
    id: str
    index: int
    parts: list[str] = field(default_factory=list)
    name: str = ""
    call_id: str = ""
    call: int = 0

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def item(self, status: ItemStatus) -> OutputItem:
        begun = status == "in_progress"  # its part is shown by an event of its own
        if self.kind is ToolCallDelta:
            return FunctionCall(self.id, self.call_id, self.name, self.text, status)
        if self.kind is ReasoningTextDelta:
            return Reasoning(self.id, status, content=() if begun else (ReasoningText(self.text),))
        return Message(self.id, "assistant", status, () if begun else (OutputText(self.text),))


class Output:
    """One item at a time is open; another kind of piece, or another call, closes it and opens the next."""

    def __init__(self, number: Callable[[], int], response_id: str, position: int) -> None:
        """`number` gives out sequence numbers; the items take the positions from `position` on."""
        self._number = number
        self._response_id = response_id
        self._position = position
        self._closed: list[OutputItem] = []
        self._open: _Open | None = None
        self._held = ""

    def items(self, status: ItemStatus) -> tuple[OutputItem, ...]:
        """All of them; what is still open has `status`."""
        return (*self._closed, self._open.item(status)) if self._open else tuple(self._closed)

    def replay(self, event: e.Event) -> None:
        """Takes up an event that another owner of the turn has told."""
        match event:
            case e.OutputItemAdded(item=item, output_index=index):
                self._open = _opened(item, index)
            case e.OutputItemDone(item=item):
                self._closed.append(item)
                self._open = None
            case e.OutputTextDelta() | e.ReasoningDelta() | e.ArgumentsDelta():
                if self._open is not None:
                    self._open.parts.append(event.delta)

    @property
    def open_kind(self) -> type[OutputDelta] | None:
        return self._open.kind if self._open else None

    def begin_again(self) -> None:
        """White space that waits for a word comes once more."""
        self._held = ""

    def add(self, piece: OutputDelta) -> list[e.Event]:
        """A piece without text (a character whose bytes are not complete yet) shows nothing."""
        text = piece.arguments if isinstance(piece, ToolCallDelta) else piece.text
        if isinstance(piece, TextDelta) and not self._continues(piece):
            text = self._without_the_frame(text)
        if not text and not (isinstance(piece, ToolCallDelta) and piece.name):
            return []
        if self._continues(piece):
            return self._grow(text)
        self._refuse_a_strange_one(piece)
        events = [*self.close("completed"), *self._begin(piece)]
        return [*events, *self._grow(text)] if text else events

    def close(self, status: ItemStatus) -> list[e.Event]:
        if self._open is None:
            return []
        now, self._open = self._open, None
        item = now.item(status)
        self._closed.append(item)
        where = (now.id, now.index)
        done: list[e.Event]
        if now.kind is ToolCallDelta:
            done = [e.ArgumentsDone(self._number(), *where, now.name, now.text)]
        elif now.kind is ReasoningTextDelta:
            done = [
                e.ReasoningDone(self._number(), *where, 0, now.text),
                e.ContentPartDone(self._number(), *where, 0, ReasoningText(now.text)),
            ]
        else:
            done = [
                e.OutputTextDone(self._number(), *where, 0, now.text),
                e.ContentPartDone(self._number(), *where, 0, OutputText(now.text)),
            ]
        return [*done, e.OutputItemDone(self._number(), now.index, item)]

    def close_with_a_message(self, status: ItemStatus) -> list[e.Event]:
        """An answer without a word is an empty message, so that every client finds one."""
        if not self._closed and self._open is None:
            return [*self._begin(TextDelta("")), *self.close(status)]
        return self.close(status)

    def _without_the_frame(self, text: str) -> str:
        """White space alone opens no message: models put line ends between their reasoning, calls and text."""
        self._held += text
        if not self._held.strip():
            return ""
        text, self._held = self._held, ""
        return text.lstrip() if self._closed or self._open else text

    def _continues(self, piece: OutputDelta) -> bool:
        now = self._open
        if now is None or now.kind is not type(piece):
            return False
        return not isinstance(piece, ToolCallDelta) or piece.index == now.call

    def _refuse_a_strange_one(self, piece: OutputDelta) -> None:
        """Before a number is given out for it: a sequence has no gap."""
        if len(self.items("completed")) == MAX_OUTPUT_ITEMS:
            raise EngineFailed(f"the model called more than {MAX_OUTPUT_ITEMS - 1} functions at once")
        if isinstance(piece, ToolCallDelta) and not piece.name:
            raise EngineFailed("the model called a function without a name")

    def _begin(self, piece: OutputDelta) -> list[e.Event]:
        index = len(self._closed)
        prefix: ItemPrefix = (
            "fc" if isinstance(piece, ToolCallDelta) else "rs" if isinstance(piece, ReasoningTextDelta) else "msg"
        )
        now = _Open(type(piece), item_id_in(self._response_id, prefix, self._position + index), index)
        if isinstance(piece, ToolCallDelta):
            now.name, now.call, now.call_id = piece.name or "", piece.index, new_call_id()
        self._open = now
        added = e.OutputItemAdded(self._number(), index, now.item("in_progress"))
        if isinstance(piece, ToolCallDelta):
            return [added]
        part = ReasoningText("") if isinstance(piece, ReasoningTextDelta) else OutputText("")
        return [added, e.ContentPartAdded(self._number(), now.id, index, 0, part)]

    def _grow(self, text: str) -> list[e.Event]:
        now = self._open
        assert now is not None  # noqa: S101 - for the type checker: _begin came first
        now.parts.append(text)
        if now.kind is ToolCallDelta:
            return [e.ArgumentsDelta(self._number(), now.id, now.index, text)]
        if now.kind is ReasoningTextDelta:
            return [e.ReasoningDelta(self._number(), now.id, now.index, 0, text)]
        return [e.OutputTextDelta(self._number(), now.id, now.index, 0, text)]


def _opened(item: OutputItem, index: int) -> _Open:
    match item:
        case FunctionCall():
            return _Open(ToolCallDelta, item.id, index, name=item.name, call_id=item.call_id)
        case Reasoning():
            return _Open(ReasoningTextDelta, item.id, index)
        case Message():
            return _Open(TextDelta, item.id, index)
