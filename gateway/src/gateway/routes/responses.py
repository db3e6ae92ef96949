"""/v1/responses over HTTP: an answer asked for, fetched, followed, stopped, deleted."""

from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Depends, Path, Query, Request, Response

from gateway.errors import NotFound
from gateway.identity import User
from gateway.protocol.items import Item
from gateway.protocol.requests import decode_compact, decode_create_body
from gateway.protocol.resources import Deleted, Page
from gateway.routes.answers import answer
from gateway.routes.credentials import current_user
from gateway.routes.server_sent import streamed
from gateway.turn import Failed
from gateway.turns.running import RunningTurn

router = APIRouter(prefix="/v1/responses")

CurrentUser = Annotated[User, Depends(current_user)]
ResponseId = Annotated[str, Path(max_length=80)]
# A number of 2^31 events is never reached, and larger integers are no JSON that all clients can read.
SequenceNumber = Annotated[int | None, Query(ge=0, le=2**31)]


@router.post("")
async def create(request: Request, user: CurrentUser) -> Response:
    wanted = decode_create_body(await request.body())
    running = await request.state.turns.start(user.id, wanted)
    if wanted.stream:
        return streamed(_followed(running))
    if wanted.background:
        return answer(running.accepted.turn.response("in_progress"))
    await _ended(request, running)
    outcome = running.accepted.turn.outcome
    if isinstance(running.ending, Failed) and not outcome.output:
        raise running.ending.error
    return answer(outcome)


@router.get("/{response_id}")
async def retrieve(
    request: Request,
    user: CurrentUser,
    response_id: ResponseId,
    stream: Annotated[bool, Query()] = False,
    starting_after: SequenceNumber = None,
) -> Response:
    following = request.state.following
    if not stream:
        return answer((await following.get(user.id, response_id)).response)
    # Opened before the status is sent: what can not be followed is a 404, not an empty stream.
    frames = following.frames(user.id, response_id)
    opened = await frames.__aenter__()

    async def followed() -> AsyncIterator[str]:
        try:
            async for frame in opened.follow(-1 if starting_after is None else starting_after):
                yield frame
        finally:
            await frames.__aexit__(None, None, None)

    return streamed(followed())


@router.post("/{response_id}/cancel")
async def cancel(request: Request, user: CurrentUser, response_id: ResponseId) -> Response:
    return answer(await request.state.following.cancel(user.id, response_id))


@router.delete("/{response_id}")
async def delete(request: Request, user: CurrentUser, response_id: ResponseId) -> Response:
    await request.state.following.delete(user.id, response_id)
    return answer(Deleted(response_id, "response"))


@router.get("/{response_id}/input_items")
async def input_items(
    request: Request,
    user: CurrentUser,
    response_id: ResponseId,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: Annotated[str | None, Query(max_length=80)] = None,
    order: Literal["asc", "desc"] = "desc",
) -> Response:
    items: tuple[Item, ...] = (await request.state.following.get(user.id, response_id)).input
    if order == "desc":
        items = items[::-1]
    if after is not None:
        ids = [item.id for item in items]
        if after not in ids:
            raise NotFound("item", param="after")
        items = items[ids.index(after) + 1 :]
    shown = items[:limit]
    page: Page[Any] = Page(shown, shown[0].id if shown else None, shown[-1].id if shown else None, len(items) > limit)
    return answer(page)


@router.post("/compact")
async def compact(request: Request, user: CurrentUser) -> Response:
    return answer(await request.state.compaction.compact(user.id, decode_compact(await request.body())))


async def _followed(running: RunningTurn) -> AsyncIterator[str]:
    try:
        async for frame in running.log.frames.follow():
            yield frame
    finally:
        _stop_what_nobody_can_fetch(running)


async def _ended(request: Request, running: RunningTurn) -> None:
    if running.request.stored:
        await running.log.frames.end()
        return
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            _stop_what_nobody_can_fetch(running)

        tasks.start_soon(watch)
        await running.log.frames.end()
        tasks.cancel_scope.cancel()


def _stop_what_nobody_can_fetch(running: RunningTurn) -> None:
    """A stored answer goes on, whoever leaves; of any other the only reader has gone."""
    if not running.request.stored:
        running.stop()
