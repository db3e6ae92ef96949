"""POST /v1/chat/completions: the engine's own API, behind identity, limits and accounting."""

from fastapi import APIRouter, Depends, Request, Response

from gateway.errors import ModelNotFound
from gateway.protocol.chat_completions import NEUTRAL, ChatCompletion, decode_chat_completion
from gateway.routes import openapi_rules
from gateway.routes.credentials import CurrentUser
from gateway.routes.openapi import Body, describe
from gateway.routes.relayed_response import RelayedResponse
from gateway.routes.request_validation import read_json_body, reject_unknown_parameters
from gateway.routes.revocable_response import LAST_CHUNK, RevocableResponse
from gateway.routes.state import OpenState

router = APIRouter(dependencies=[Depends(reject_unknown_parameters)])

_EXAMPLE = {"messages": [{"role": "user", "content": "你好"}]}


@router.post(
    "/v1/chat/completions",
    summary="Create a chat completion",
    **describe(
        dict,
        body=Body(
            ChatCompletion,
            neutral=NEUTRAL,
            rules=openapi_rules.CHAT,
            examples={"whole": _EXAMPLE, "streamed": _EXAMPLE | {"stream": True}},
        ),
        streams=(dict,),
        errors=(404, 500),
    ),
)
async def create(request: Request, state: OpenState, user: CurrentUser) -> Response:
    completion = decode_chat_completion(await read_json_body(request))
    served = await state["models"].model()
    if completion.model not in (None, served):
        raise ModelNotFound(completion.model or "", served)
    relay, release = state["chat_relays"](completion, user_id=user.id), state["answers"].acquire(user.id)

    async def end() -> None:
        release()
        usage = await relay.usage()
        if usage is not None:
            await state["usage"].add(user.id, usage)

    response = RelayedResponse(relay, stream=completion.stream is True, on_close=end)
    return RevocableResponse(user, response, LAST_CHUNK)
