"""/v1/responses over HTTP: responses are created, retrieved, followed, cancelled and deleted."""

import asyncio
from contextlib import ExitStack
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from gateway.errors import NotFound
from gateway.identity.introspection import User
from gateway.protocol.create import NEUTRAL, NEUTRAL_OVER_HTTP, ResponseCreate
from gateway.protocol.events import Event
from gateway.protocol.items import Item
from gateway.protocol.limits import MAX_ID_LENGTH, MAX_OPAQUE_LENGTH, MAX_SEQUENCE_NUMBER
from gateway.protocol.requests import (
    COUNT_NEUTRAL,
    CompactRequest,
    CountRequest,
    decode_compact,
    decode_count,
    decode_create_body,
    idempotency_key_of,
)
from gateway.protocol.resources import CompactedResponse, Deleted, InputTokens, ItemPage, Order
from gateway.protocol.resources import Response as Resource
from gateway.routes import openapi_rules
from gateway.routes.client_disconnect import wait_for_disconnect
from gateway.routes.credentials import CurrentUser
from gateway.routes.event_stream import event_stream
from gateway.routes.json_responses import json_response
from gateway.routes.openapi import Body, describe, link
from gateway.routes.request_validation import AfterItem, Limit, read_json_body, reject_unknown_parameters
from gateway.routes.revocable_response import RevocableResponse
from gateway.routes.state import OpenState, State
from gateway.runtime.acceptance import StartedTurn
from gateway.runtime.following import ResponseFollower
from gateway.runtime.running import RunningTurn
from gateway.turn.state_machine import Failed

router = APIRouter(prefix="/v1/responses", dependencies=[Depends(reject_unknown_parameters)])

ResponseId = Annotated[str, Path(max_length=MAX_ID_LENGTH)]
SequenceNumber = Annotated[int | None, Query(ge=0, le=MAX_SEQUENCE_NUMBER)]


_PATH = "/v1/responses/{response_id}"
_CREATED = {"response_id": "$response.body#/id"}


@router.post(
    "",
    summary="Create a response",
    **describe(
        Resource,
        body=Body(
            ResponseCreate,
            neutral=NEUTRAL | NEUTRAL_OVER_HTTP,
            rules=openapi_rules.RESPONSE,
            examples={"whole": {"input": "你好"}, "streamed": {"input": "你好", "stream": True}},
        ),
        streams=Event.__subclasses__(),
        errors=(404, 422, 500, 502),
        links=link(_PATH, "get", "delete", **_CREATED)
        | link(f"{_PATH}/cancel", "post", **_CREATED)
        | link(f"{_PATH}/input_items", "get", **_CREATED),
    ),
)
async def create(
    request: Request,
    state: OpenState,
    user: CurrentUser,
    idempotency_key: Annotated[str | None, Header(max_length=MAX_OPAQUE_LENGTH)] = None,
) -> Response:
    body = decode_create_body(await read_json_body(request))
    key = idempotency_key_of(body, idempotency_key)
    if body.stream:
        return await _create_streamed(state, user, body, key)
    started = await state["turns"].start(user.id, body, idempotency_key=key)
    follower, running = state["follower"], started.running
    if body.background:
        return json_response(await _snapshot(follower, user, started))
    outcome = await _outcome(request, follower, user, started)
    if running is not None and isinstance(running.ending, Failed) and not outcome.output:
        raise running.ending.error
    return json_response(outcome)


@router.get(
    "/{response_id}",
    summary="Retrieve a response, or follow its events",
    **describe(Resource, streams=Event.__subclasses__(), errors=(400, 404)),
)
async def retrieve(
    state: OpenState,
    user: CurrentUser,
    response_id: ResponseId,
    stream: Annotated[bool, Query()] = False,
    starting_after: SequenceNumber = None,
) -> Response:
    follower = state["follower"]
    if not stream:
        return json_response((await follower.get(user.id, response_id)).response)
    with ExitStack() as held:
        held.callback(state["connections"].acquire(user.id))
        await follower.check(user.id, response_id)  # a response without events is a 404, not an empty stream
        frames = follower.follow(user.id, response_id, -1 if starting_after is None else starting_after)
        return RevocableResponse(user, event_stream(frames, on_close=held.pop_all().close))


@router.post("/{response_id}/cancel", summary="Cancel a response", **describe(Resource, errors=(400, 403, 404)))
async def cancel(state: OpenState, user: CurrentUser, response_id: ResponseId) -> Response:
    return json_response(await state["follower"].cancel(user.id, response_id))


@router.delete("/{response_id}", summary="Delete a response", **describe(Deleted, errors=(400, 403, 404)))
async def delete(state: OpenState, user: CurrentUser, response_id: ResponseId) -> Response:
    await state["follower"].delete(user.id, response_id)
    return json_response(Deleted(response_id, "response"))


@router.get(
    "/{response_id}/input_items",
    summary="List the input items of a response",
    **describe(ItemPage, errors=(400, 404)),
)
async def input_items(
    state: OpenState,
    user: CurrentUser,
    response_id: ResponseId,
    limit: Limit = 20,
    after: AfterItem = None,
    order: Order = "desc",
) -> Response:
    items: tuple[Item, ...] = (await state["follower"].get(user.id, response_id)).input
    if order == "desc":
        items = items[::-1]
    if after is not None:
        ids = [item.id for item in items]
        if after not in ids:
            raise NotFound("item", param="after")
        items = items[ids.index(after) + 1 :]
    return json_response(ItemPage.of(items[:limit], has_more=len(items) > limit))


@router.post(
    "/compact",
    summary="Compact a conversation",
    **describe(CompactedResponse, body=Body(CompactRequest, rules=openapi_rules.COMPACTION), errors=(404, 500)),
)
async def compact(request: Request, state: OpenState, user: CurrentUser) -> Response:
    body = decode_compact(await read_json_body(request))
    return json_response(await state["compaction"].compact(user.id, body))


@router.post(
    "/input_tokens",
    summary="Count the input tokens of a request",
    **describe(
        InputTokens,
        body=Body(
            CountRequest,
            required=False,
            neutral=COUNT_NEUTRAL,
            rules=openapi_rules.COUNT,
            examples={"text": {"input": "你好"}},
        ),
        errors=(404, 500),
    ),
)
async def input_tokens(request: Request, state: OpenState, user: CurrentUser) -> Response:
    body = decode_count(await read_json_body(request))
    return json_response(await state["token_counter"].count(user.id, body))


async def _create_streamed(state: State, user: User, body: ResponseCreate, idempotency_key: str | None) -> Response:
    follower = state["follower"]
    with ExitStack() as held:
        held.callback(state["connections"].acquire(user.id))
        started = await state["turns"].start(user.id, body, idempotency_key=idempotency_key)
        if started.running is not None:
            held.callback(started.running.stop_unless_stored)
        await follower.check(user.id, started.response_id, running=started.running)
        frames = follower.follow(user.id, started.response_id, running=started.running)
        return RevocableResponse(user, event_stream(frames, on_close=held.pop_all().close))


async def _snapshot(follower: ResponseFollower, user: User, started: StartedTurn) -> Resource:
    if started.running is not None:
        return started.running.prepared.turn.response("in_progress")
    return (await follower.get(user.id, started.response_id)).response


async def _outcome(request: Request, follower: ResponseFollower, user: User, started: StartedTurn) -> Resource:
    running = started.running
    if running is None:
        return await follower.outcome(user.id, started.response_id)
    disconnecting = asyncio.create_task(_stop_on_disconnect(request, running))
    try:
        return await follower.outcome(user.id, started.response_id, running=running)
    finally:
        disconnecting.cancel()
        await asyncio.wait([disconnecting])


async def _stop_on_disconnect(request: Request, running: RunningTurn) -> None:
    await wait_for_disconnect(request.receive)
    running.stop_unless_stored()
