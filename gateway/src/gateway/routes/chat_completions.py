"""POST /v1/chat/completions: the engine's own, behind identity, limits and accounting."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from gateway.engine.relay import ChatRelay
from gateway.errors import ModelNotFound
from gateway.identity.introspection import User
from gateway.protocol.chat_completions import NEUTRAL, ChatCompletion, decode_chat_completion
from gateway.protocol.resources import Generation
from gateway.routes import queries, rules
from gateway.routes.bodies import json_body
from gateway.routes.credentials import current_user
from gateway.routes.openapi import Body, described
from gateway.routes.relayed import RelayedResponse
from gateway.routes.until_revoked import LAST_CHUNK, RevocableResponse

router = APIRouter(dependencies=[Depends(queries.only_known)])

_NO_CONVERSATION = Generation()
_EXAMPLE = {"messages": [{"role": "user", "content": "你好"}]}


@router.post(
    "/v1/chat/completions",
    summary="Complete a chat as the engine itself does",
    **described(
        dict,
        body=Body(
            ChatCompletion,
            neutral=NEUTRAL,
            rules=rules.CHAT,
            examples={"whole": _EXAMPLE, "streamed": _EXAMPLE | {"stream": True}},
        ),
        streams=(dict,),
        refuses=(404, 500),
    ),
)
async def create(request: Request, user: Annotated[User, Depends(current_user)]) -> Response:
    asked = decode_chat_completion(await json_body(request))
    engine, accounting = request.state.engine, request.state.accounting
    served = await engine.model()
    if asked.model not in (None, served):
        raise ModelNotFound(asked.model or "", served)
    sampling = request.state.defaults.resolve(asked, _NO_CONVERSATION)
    relay = ChatRelay(engine, asked, sampling, user_id=user.id)

    async def account() -> None:
        cost = await relay.usage()
        if cost is not None:
            await accounting.add(user.id, cost)

    return RevocableResponse(user, RelayedResponse(relay, stream=asked.stream is True, when_over=account), LAST_CHUNK)
