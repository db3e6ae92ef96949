"""/v1/models: the one that is served."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from msgspec import UNSET

from gateway.errors import ModelNotFound
from gateway.identity.introspection import User
from gateway.protocol.models import Model, Models
from gateway.routes import queries
from gateway.routes.answers import answer
from gateway.routes.credentials import current_user
from gateway.routes.openapi import described

router = APIRouter(prefix="/v1/models", dependencies=[Depends(queries.only_known)])

CurrentUser = Annotated[User, Depends(current_user)]


@router.get("", summary="List the model that is served", **described(Models, refuses=(500,)))
async def list_models(request: Request, _: CurrentUser) -> Response:
    return answer(Models((await _served(request),)))


@router.get(
    "/{model_id:path}",  # names of models have slashes
    summary="Retrieve a model",
    **described(Model, refuses=(404, 500)),
)
async def retrieve(request: Request, _: CurrentUser, model_id: str) -> Response:
    served = await _served(request)
    if model_id != served.id:
        raise ModelNotFound(model_id, served.id)
    return answer(served)


async def _served(request: Request) -> Model:
    served = await request.state.engine.served_model()
    return Model(id=served.id, created=served.created, max_model_len=served.max_model_len or UNSET)
