"""/v1/responses over HTTP: an answer asked for, fetched, followed, stopped, deleted."""

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from gateway.errors import NotFound
from gateway.identity.introspection import User
from gateway.protocol.create import NEUTRAL, NEUTRAL_OVER_HTTP, ResponseCreate
from gateway.protocol.events import Event
from gateway.protocol.items import Item
from gateway.protocol.limits import MAX_SEQUENCE_NUMBER
from gateway.protocol.requests import (
    COUNT_NEUTRAL,
    CompactRequest,
    CountRequest,
    decode_compact,
    decode_count,
    decode_create_body,
    idempotency_key_of,
)
from gateway.protocol.resources import CompactedResponse, Deleted, InputTokens, ItemPage
from gateway.protocol.resources import Response as Resource
from gateway.routes import queries, rules
from gateway.routes.answers import answer
from gateway.routes.bodies import json_body
from gateway.routes.credentials import current_user
from gateway.routes.openapi import Body, described, linked
from gateway.routes.server_sent import streamed
from gateway.routes.until_revoked import RevocableResponse
from gateway.runtime.acceptance import StartedTurn
from gateway.runtime.running import RunningTurn
from gateway.turn.state_machine import Failed

router = APIRouter(prefix="/v1/responses", dependencies=[Depends(queries.only_known)])

CurrentUser = Annotated[User, Depends(current_user)]
ResponseId = Annotated[str, Path(max_length=80)]
SequenceNumber = Annotated[int | None, Query(ge=0, le=MAX_SEQUENCE_NUMBER)]


_ITSELF = "/v1/responses/{response_id}"
_CREATED = {"response_id": "$response.body#/id"}


@router.post(
    "",
    summary="Ask for an answer",
    **described(
        Resource,
        body=Body(
            ResponseCreate,
            neutral=NEUTRAL | NEUTRAL_OVER_HTTP,
            rules=rules.RESPONSE,
            examples={"whole": {"input": "你好"}, "streamed": {"input": "你好", "stream": True}},
        ),
        streams=Event.__subclasses__(),
        refuses=(404, 422, 500, 502),
        links=linked(_ITSELF, "get", "delete", **_CREATED)
        | linked(f"{_ITSELF}/cancel", "post", **_CREATED)
        | linked(f"{_ITSELF}/input_items", "get", **_CREATED),
    ),
)
async def create(
    request: Request, user: CurrentUser, idempotency_key: Annotated[str | None, Header(max_length=200)] = None
) -> Response:
    wanted = decode_create_body(await json_body(request))
    started = await request.state.turns.start(
        user.id, wanted, idempotency_key=idempotency_key_of(wanted, idempotency_key)
    )
    following, running = request.state.following, started.running
    if wanted.stream:
        if running is None:
            await following.check(user.id, started.response_id)
        frames = following.follow(user.id, started.response_id, running=running)
        return RevocableResponse(user, streamed(frames, when_left=lambda: _stop_what_nobody_can_fetch(running)))
    if wanted.background:
        return answer(await _resource(request, user, started))
    outcome = await _outcome(request, user, started)
    if running is not None and isinstance(running.ending, Failed) and not outcome.output:
        raise running.ending.error
    return answer(outcome)


@router.get(
    "/{response_id}",
    summary="Retrieve a response, or follow it from any event on",
    **described(Resource, streams=Event.__subclasses__(), refuses=(400, 404)),
)
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
    await following.check(user.id, response_id)  # what can not be followed is a 404, not an empty stream
    frames = following.follow(user.id, response_id, -1 if starting_after is None else starting_after)
    return RevocableResponse(user, streamed(frames))


@router.post("/{response_id}/cancel", summary="Stop a response", **described(Resource, refuses=(400, 403, 404)))
async def cancel(request: Request, user: CurrentUser, response_id: ResponseId) -> Response:
    return answer(await request.state.following.cancel(user.id, response_id))


@router.delete("/{response_id}", summary="Delete a response", **described(Deleted, refuses=(400, 403, 404)))
async def delete(request: Request, user: CurrentUser, response_id: ResponseId) -> Response:
    await request.state.following.delete(user.id, response_id)
    return answer(Deleted(response_id, "response"))


@router.get(
    "/{response_id}/input_items",
    summary="List what a response was asked",
    **described(ItemPage, refuses=(400, 404)),
)
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
    first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
    return answer(ItemPage(shown, first, last, len(items) > limit))


@router.post(
    "/compact",
    summary="Say a conversation in short",
    **described(CompactedResponse, body=Body(CompactRequest, rules=rules.COMPACTION), refuses=(404, 500)),
)
async def compact(request: Request, user: CurrentUser) -> Response:
    return answer(await request.state.compaction.compact(user.id, decode_compact(await json_body(request))))


@router.post(
    "/input_tokens",
    summary="Count the tokens of a prompt",
    **described(
        InputTokens,
        body=Body(
            CountRequest, required=False, neutral=COUNT_NEUTRAL, rules=rules.COUNT, examples={"text": {"input": "你好"}}
        ),
        refuses=(404, 500),
    ),
)
async def input_tokens(request: Request, user: CurrentUser) -> Response:
    return answer(await request.state.counting.count(user.id, decode_count(await json_body(request))))


async def _resource(request: Request, user: User, started: StartedTurn) -> Resource:
    if started.running is not None:
        return started.running.prepared.turn.response("in_progress")
    stored: Resource = (await request.state.following.get(user.id, started.response_id)).response
    return stored


async def _outcome(request: Request, user: User, started: StartedTurn) -> Resource:
    leaving = asyncio.create_task(_stopped_by_leaving(request, started.running))
    try:
        outcome: Resource = await request.state.following.outcome(user.id, started.response_id, running=started.running)
    finally:
        leaving.cancel()
    return outcome


async def _stopped_by_leaving(request: Request, running: RunningTurn | None) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    _stop_what_nobody_can_fetch(running)


def _stop_what_nobody_can_fetch(running: RunningTurn | None) -> None:
    """A stored answer goes on, whoever leaves; of any other the only reader has gone."""
    if running is not None and not running.request.stored:
        running.stop()
