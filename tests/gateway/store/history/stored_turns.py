"""Turns that these tests store."""

from typing import Any

import msgspec

from gateway.context.prompt import TokenCountCheckpoint
from gateway.inference import OutputOptions, Sampling
from gateway.protocol.items import Item
from gateway.store.history.history_reader import HistoryReader
from gateway.store.history.turn_store import TurnStore
from gateway.turn.output import MAX_OUTPUT_ITEMS
from gateway.turn.records import CommitRecord, CommitResult, TurnRecord
from gateway.turn.state_machine import Turn
from gateway.turn.turn_request import TurnRequest
from tests.gateway.items import ALICE

RETENTION_SECONDS = 1000


def turn(number: int, thread: str, position: int = 1, user: str = ALICE) -> TurnRequest:
    """The question stands before `position`, the answer from there on."""
    sampling = Sampling(temperature=0.45, top_p=0.9, repetition_penalty=1.2, max_output_tokens=None)
    return TurnRequest(
        f"resp_{number}", user, "m", sampling, OutputOptions(), created_at=1, first_position=position, thread_id=thread
    )


async def accept(turns: TurnStore, request: TurnRequest, *items: Item, **more: Any) -> str:
    response = Turn(request).response("in_progress")
    return await turns.accept(TurnRecord(request, request.thread_id or "", response, items, owner="g1", **more))


async def whole(reader: HistoryReader, request: TurnRequest) -> list[Item]:
    """What a response after this turn would continue from."""
    last = request.first_position + MAX_OUTPUT_ITEMS - 1
    return await reader.read(request.user_id, await reader.open(request.user_id, request.thread_id or "", last))


async def commit(
    turns: TurnStore, request: TurnRequest, *items: Item, checkpoint: TokenCountCheckpoint | None = None
) -> None:
    record = commit_record(request, *items, checkpoint=checkpoint)
    assert await turns.commit(record) is not CommitResult.FENCED_OFF


def commit_record(request: TurnRequest, *items: Item, checkpoint: TokenCountCheckpoint | None = None) -> CommitRecord:
    response = msgspec.structs.replace(Turn(request).response("completed"), output=items)
    return CommitRecord(request.user_id, request.thread_id or "", response, "g1", checkpoint)
