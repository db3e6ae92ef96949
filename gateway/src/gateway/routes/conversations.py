"""/v1/conversations: the conversations of a user and their items."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from gateway.history import Order
from gateway.identity import User
from gateway.protocol.requests import decode_conversation_create
from gateway.protocol.resources import encoded
from gateway.routes.credentials import current_user

router = APIRouter(prefix="/v1/conversations")

CurrentUser = Annotated[User, Depends(current_user)]
Limit = Annotated[int, Query(ge=1, le=100)]
After = Annotated[str | None, Query(max_length=80)]


@router.post("")
async def create(request: Request, user: CurrentUser) -> Response:
    body = decode_conversation_create(await request.body())
    history = request.state.history
    conversation = await history.create(user.id, body.metadata or {})
    if body.items:
        _, first = await history.reserve(user.id, conversation.id, len(body.items))
        await history.append(user.id, conversation.id, [item.at(first + n) for n, item in enumerate(body.items)])
    return _json(conversation)


@router.get("")
async def list_conversations(
    request: Request, user: CurrentUser, limit: Limit = 20, after: After = None, order: Order = "desc"
) -> Response:
    return _json(await request.state.history.conversations(user.id, limit=limit, after=after, order=order))


@router.get("/{conversation_id}")
async def retrieve(request: Request, user: CurrentUser, conversation_id: str) -> Response:
    return _json(await request.state.history.conversation(user.id, conversation_id))


@router.get("/{conversation_id}/items")
async def items(
    request: Request,
    user: CurrentUser,
    conversation_id: str,
    limit: Limit = 20,
    after: After = None,
    order: Order = "desc",
) -> Response:
    return _json(await request.state.history.items(user.id, conversation_id, limit=limit, after=after, order=order))


def _json(value: object) -> Response:
    return Response(encoded(value), media_type="application/json")
