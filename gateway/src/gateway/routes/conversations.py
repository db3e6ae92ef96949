"""/v1/conversations: the conversations of a user and their items."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import anyio
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.background import BackgroundTask

from gateway.errors import NotFound, Unavailable
from gateway.protocol.items import Item
from gateway.protocol.limits import MAX_ID_LENGTH
from gateway.protocol.requests import (
    ConversationCreate,
    ConversationUpdate,
    ItemsCreate,
    decode_conversation_create,
    decode_conversation_update,
    decode_items_create,
)
from gateway.protocol.resources import Conversation, ConversationPage, Deleted, Generation, ItemPage, Order
from gateway.routes.credentials import CurrentUser
from gateway.routes.json_responses import json_response
from gateway.routes.openapi import Body, describe, link
from gateway.routes.request_validation import AfterItem, Limit, read_json_body, reject_unknown_parameters
from gateway.routes.state import OpenState
from gateway.runtime.following import ResponseFollower

router = APIRouter(prefix="/v1/conversations", dependencies=[Depends(reject_unknown_parameters)])

ConversationId = Annotated[str, Path(max_length=MAX_ID_LENGTH)]
ItemId = Annotated[str, Path(max_length=MAX_ID_LENGTH)]
AfterConversation = Annotated[str | None, Query(max_length=120)]
SearchQuery = Annotated[str | None, Query(min_length=1, max_length=200)]


_PATH = "/v1/conversations/{conversation_id}"
_CREATED = {"conversation_id": "$response.body#/id"}
_ADDED = {"conversation_id": "$request.path.conversation_id", "item_id": "$response.body#/first_id"}


@router.post(
    "",
    summary="Create a conversation",
    **describe(
        Conversation,
        body=Body(ConversationCreate, required=False),
        links=link(_PATH, "get", "post", "delete", **_CREATED) | link(f"{_PATH}/items", "get", "post", **_CREATED),
    ),
)
async def create(request: Request, state: OpenState, user: CurrentUser) -> Response:
    body = decode_conversation_create(await read_json_body(request))
    metadata, generation, items = body.metadata or {}, body.generation or Generation(), body.items or ()
    state["compaction"].check_readable(user.id, items)
    return json_response(await state["conversations"].create(user.id, metadata, generation=generation, items=items))


@router.get("", summary="List or search conversations", **describe(ConversationPage, errors=(400, 404)))
async def list_conversations(
    state: OpenState,
    user: CurrentUser,
    limit: Limit = 20,
    after: AfterConversation = None,
    order: Order = "desc",
    query: SearchQuery = None,
) -> Response:
    index = state["conversation_index"]
    return json_response(await index.page(user.id, limit=limit, after=after, order=order, query=query))


@router.get("/{conversation_id}", summary="Retrieve a conversation", **describe(Conversation, errors=(400, 404)))
async def retrieve(state: OpenState, user: CurrentUser, conversation_id: ConversationId) -> Response:
    return json_response(await state["conversations"].conversation(user.id, conversation_id))


@router.post(
    "/{conversation_id}",
    summary="Update a conversation",
    **describe(Conversation, body=Body(ConversationUpdate), errors=(404,)),
)
async def update(request: Request, state: OpenState, user: CurrentUser, conversation_id: ConversationId) -> Response:
    body = decode_conversation_update(await read_json_body(request))
    conversations = state["conversations"]
    return json_response(
        await conversations.update(user.id, conversation_id, metadata=body.metadata, generation=body.generation)
    )


@router.delete(
    "/{conversation_id}", summary="Delete a conversation and its items", **describe(Deleted, errors=(400, 403, 404))
)
async def delete(state: OpenState, user: CurrentUser, conversation_id: ConversationId) -> Response:
    running = await state["conversations"].delete(user.id, conversation_id)
    response = json_response(Deleted(conversation_id, "conversation.deleted"))
    response.background = BackgroundTask(_cancel_all, state["follower"], user.id, running)
    return response


@router.post(
    "/{conversation_id}/items",
    summary="Add items to a conversation",
    **describe(
        ItemPage,
        body=Body(ItemsCreate),
        errors=(404,),
        links=link(f"{_PATH}/items/{{item_id}}", "get", "delete", **_ADDED),
    ),
)
async def create_items(
    request: Request, state: OpenState, user: CurrentUser, conversation_id: ConversationId
) -> Response:
    body = decode_items_create(await read_json_body(request))
    state["compaction"].check_readable(user.id, body.items)
    return json_response(await state["conversation_items"].create(user.id, conversation_id, body.items))


@router.get(
    "/{conversation_id}/items", summary="List the items of a conversation", **describe(ItemPage, errors=(400, 404))
)
async def list_items(
    state: OpenState,
    user: CurrentUser,
    conversation_id: ConversationId,
    limit: Limit = 20,
    after: AfterItem = None,
    order: Order = "desc",
) -> Response:
    items = state["conversation_items"]
    return json_response(await items.page(user.id, conversation_id, limit=limit, after=after, order=order))


@router.get("/{conversation_id}/items/{item_id}", summary="Retrieve an item", **describe(Item, errors=(400, 404)))
async def retrieve_item(
    state: OpenState, user: CurrentUser, conversation_id: ConversationId, item_id: ItemId
) -> Response:
    return json_response(await state["conversation_items"].item(user.id, conversation_id, item_id))


@router.delete(
    "/{conversation_id}/items/{item_id}", summary="Delete an item", **describe(Conversation, errors=(400, 403, 404))
)
async def delete_item(
    state: OpenState, user: CurrentUser, conversation_id: ConversationId, item_id: ItemId
) -> Response:
    return json_response(await state["conversation_items"].delete(user.id, conversation_id, item_id))


async def _cancel_all(follower: ResponseFollower, user_id: str, response_ids: Sequence[str]) -> None:
    """After the response is sent: the gateway that runs one of them may be slow or down, and the conversation is
    already deleted."""

    async def cancel(response_id: str) -> None:
        with suppress(NotFound, Unavailable):
            await follower.cancel(user_id, response_id)

    async with anyio.create_task_group() as tasks:
        for response_id in response_ids:
            tasks.start_soon(cancel, response_id)
