"""Open Responses' rules for resources and events. Stricter than the published models: nothing is coerced, and an
optional field is left out rather than null."""

import json
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final, TypeVar

from openresponses_types import types as spec
from pydantic import BaseModel

Wire = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)

RESPONSE_KEYS: Final = frozenset(spec.ResponseResource.model_fields)

_ITEMS: Final[dict[str, type[BaseModel]]] = {
    "message": spec.Message,
    "function_call": spec.FunctionCall,
    "function_call_output": spec.FunctionCallOutput,
    "reasoning": spec.ReasoningBody,
    "compaction": spec.CompactionBody,
}
# The only optional field that the specification also allows to be null.
_NULLABLE: Final = {(spec.Error, "param")}

_PART: Final = r"content_part\.added (\w+\.delta )*\w+\.done content_part\.done "
_CALL: Final = r"(function_call_arguments\.delta )+function_call_arguments\.done "
_ITEM: Final = rf"output_item\.added (({_PART})*|{_CALL})output_item\.done "
_STORY: Final = re.compile(rf"created (queued )*in_progress ({_ITEM})*(completed|incomplete) ")
_SPOKEN: Final = (".delta", "_text.done", ".reasoning.done", "_arguments.done")
_IN_PLACES: Final = ("item_id", "output_index", "content_index")


def _event_models() -> dict[str, type[BaseModel]]:
    found = {}
    for name, model in vars(spec).items():
        if name.endswith("StreamingEvent"):
            (kind,) = model.model_fields["type"].annotation
            found[str(kind.value)] = model
    return found


_EVENTS: Final = _event_models()


def response(wire: Wire) -> spec.ResponseResource:
    for one in wire["output"]:
        item(one)
    return _read(spec.ResponseResource, wire)


def compaction(wire: Wire) -> spec.CompactResource:
    for one in wire["output"]:
        item(one)
    return _read(spec.CompactResource, wire)


def item(wire: Wire) -> BaseModel:
    return _read(_ITEMS[wire["type"]], wire)


def event(wire: Wire) -> BaseModel:
    if "response" in wire:
        response(wire["response"])
    if "item" in wire:
        item(wire["item"])
    return _read(_EVENTS[wire["type"]], wire)


def refusal(wire: Wire) -> spec.Error:
    """The refusal of one client event on a WebSocket."""
    return _read(spec.WebSocketErrorEvent, wire).error


def story(events: list[Wire]) -> Wire:
    """Checks all events of an answer that did not fail, in order; returns its final response."""
    for one in events:
        event(one)
    kinds = "".join(f"{one['type'].removeprefix('response.')} " for one in events)
    assert _STORY.fullmatch(kinds), kinds
    assert [one["sequence_number"] for one in events] == list(range(len(events)))
    whole: Wire = events[-1]["response"]
    done = [one for one in events if one["type"] == "response.output_item.done"]
    assert [one["output_index"] for one in done] == list(range(len(done)))
    assert [one["item"] for one in done] == whole["output"]
    assert {one["response"]["id"] for one in events if "response" in one} == {whole["id"]}
    _deltas_make_up_what_is_done(events)
    return whole


def _deltas_make_up_what_is_done(events: list[Wire]) -> None:
    spoken = [one for one in events if one["type"].endswith(_SPOKEN)]
    for place, said in groupby(spoken, lambda one: tuple(one.get(name) for name in _IN_PLACES)):
        *deltas, done = said
        made = done["text"] if "text" in done else done["arguments"]
        assert "".join(one["delta"] for one in deltas) == made, place


def _read(kind: type[Model], wire: Wire) -> Model:
    model = kind.model_validate_json(json.dumps(wire), strict=True)
    nulls = list(_nulls(model, kind.__name__))
    assert not nulls, f"null where a field should be left out: {nulls}"
    return model


def _nulls(value: object, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _nulls(one, f"{path}[{index}]")
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            inner = getattr(value, name)
            said = name in value.model_fields_set and (type(value), name) not in _NULLABLE
            if inner is None and said and not field.is_required():
                yield f"{path}.{name}"
            yield from _nulls(inner, f"{path}.{name}")
