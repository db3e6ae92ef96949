"""/v1/conversations: the conversations of a user and their items."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Path, Query, Request, Response
from starlette.background import BackgroundTask

from gateway.errors import NotFound, Unavailable
from gateway.identity.introspection import User
from gateway.protocol.items import Item
from gateway.protocol.requests import (
    ConversationCreate,
    ConversationUpdate,
    ItemsCreate,
    decode_conversation_create,
    decode_conversation_update,
    decode_items_create,
)
from gateway.protocol.resources import Conversation, ConversationPage, Deleted, Generation, ItemPage
from gateway.routes import queries
from gateway.routes.answers import answer
from gateway.routes.bodies import json_body
from gateway.routes.credentials import current_user
from gateway.routes.openapi import Body, described, linked
from gateway.store.history.cursors import Order

router = APIRouter(prefix="/v1/conversations", dependencies=[Depends(queries.only_known)])

CurrentUser = Annotated[User, Depends(current_user)]
ConversationId = Annotated[str, Path(max_length=80)]
ItemId = Annotated[str, Path(max_length=80)]
Limit = Annotated[int, Query(ge=1, le=100)]
AfterItem = Annotated[str | None, Query(max_length=80)]
AfterConversation = Annotated[str | None, Query(max_length=120)]
Words = Annotated[str | None, Query(min_length=1, max_length=200)]


_ITSELF = "/v1/conversations/{conversation_id}"
_CREATED = {"conversation_id": "$response.body#/id"}
_ADDED = {"conversation_id": "$request.path.conversation_id", "item_id": "$response.body#/first_id"}


@router.post(
    "",
    summary="Create a conversation",
    **described(
        Conversation,
        body=Body(ConversationCreate, required=False),
        links=linked(_ITSELF, "get", "post", "delete", **_CREATED)
        | linked(f"{_ITSELF}/items", "get", "post", **_CREATED),
    ),
)
async def create(request: Request, user: CurrentUser) -> Response:
    body = decode_conversation_create(await json_body(request))
    request.state.compaction.check_readable(user.id, body.items or ())
    return answer(
        await request.state.conversations.create(
            user.id, body.metadata or {}, generation=body.generation or Generation(), items=body.items or ()
        )
    )


@router.get("", summary="List or search one's conversations", **described(ConversationPage, refuses=(400, 404)))
async def list_conversations(
    request: Request,
    user: CurrentUser,
    limit: Limit = 20,
    after: AfterConversation = None,
    order: Order = "desc",
    query: Words = None,
) -> Response:
    index = request.state.conversations.index
    return answer(await index.page(user.id, limit=limit, after=after, order=order, query=query))


@router.get("/{conversation_id}", summary="Retrieve a conversation", **described(Conversation, refuses=(400, 404)))
async def retrieve(request: Request, user: CurrentUser, conversation_id: ConversationId) -> Response:
    return answer(await request.state.conversations.conversation(user.id, conversation_id))


@router.post(
    "/{conversation_id}",
    summary="Update a conversation",
    **described(Conversation, body=Body(ConversationUpdate), refuses=(404,)),
)
async def update(request: Request, user: CurrentUser, conversation_id: ConversationId) -> Response:
    body = decode_conversation_update(await json_body(request))
    conversations = request.state.conversations
    return answer(
        await conversations.update(user.id, conversation_id, metadata=body.metadata, generation=body.generation)
    )


@router.delete(
    "/{conversation_id}", summary="Delete a conversation and its items", **described(Deleted, refuses=(400, 403, 404))
)
async def delete(request: Request, user: CurrentUser, conversation_id: ConversationId) -> Response:
    running = await request.state.conversations.delete(user.id, conversation_id)
    deleted = answer(Deleted(conversation_id, "conversation.deleted"))
    deleted.background = BackgroundTask(_stop, request.state.following, user.id, running)
    return deleted


@router.post(
    "/{conversation_id}/items",
    summary="Add items to a conversation",
    **described(
        ItemPage,
        body=Body(ItemsCreate),
        refuses=(404,),
        links=linked(_ITSELF + "/items/{item_id}", "get", "delete", **_ADDED),
    ),
)
async def create_items(request: Request, user: CurrentUser, conversation_id: ConversationId) -> Response:
    body = decode_items_create(await json_body(request))
    request.state.compaction.check_readable(user.id, body.items)
    return answer(await request.state.conversations.items.create(user.id, conversation_id, body.items))


@router.get(
    "/{conversation_id}/items", summary="List the items of a conversation", **described(ItemPage, refuses=(400, 404))
)
async def list_items(
    request: Request,
    user: CurrentUser,
    conversation_id: ConversationId,
    limit: Limit = 20,
    after: AfterItem = None,
    order: Order = "desc",
) -> Response:
    items = request.state.conversations.items
    return answer(await items.page(user.id, conversation_id, limit=limit, after=after, order=order))


@router.get("/{conversation_id}/items/{item_id}", summary="Retrieve an item", **described(Item, refuses=(400, 404)))
async def retrieve_item(
    request: Request, user: CurrentUser, conversation_id: ConversationId, item_id: ItemId
) -> Response:
    return answer(await request.state.conversations.items.item(user.id, conversation_id, item_id))


@router.delete(
    "/{conversation_id}/items/{item_id}", summary="Delete an item", **described(Conversation, refuses=(400, 403, 404))
)
async def delete_item(
    request: Request, user: CurrentUser, conversation_id: ConversationId, item_id: ItemId
) -> Response:
    return answer(await request.state.conversations.items.delete(user.id, conversation_id, item_id))


async def _stop(following: Any, user_id: str, response_ids: Sequence[str]) -> None:
    """Behind the answer: the gateway that runs one of them may be slow or gone, and the conversation is deleted."""

    async def stop(response_id: str) -> None:
        with suppress(NotFound, Unavailable):
            await following.cancel(user_id, response_id)

    async with anyio.create_task_group() as tasks:
        for response_id in response_ids:
            tasks.start_soon(stop, response_id)
