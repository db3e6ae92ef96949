"""/v1/models: the one model that is served."""

from fastapi import APIRouter, Depends, Response
from msgspec import UNSET

from gateway.errors import ModelNotFound
from gateway.protocol.models import Model, Models
from gateway.routes.credentials import CurrentUser
from gateway.routes.json_responses import json_response
from gateway.routes.openapi import describe
from gateway.routes.ports import ServedModels
from gateway.routes.request_validation import reject_unknown_parameters
from gateway.routes.state import OpenState

router = APIRouter(prefix="/v1/models", dependencies=[Depends(reject_unknown_parameters)])


@router.get("", summary="List models", **describe(Models, errors=(500,)))
async def list_models(state: OpenState, _: CurrentUser) -> Response:
    return json_response(Models((await _served_model(state["models"]),)))


@router.get(
    "/{model_id:path}",  # names of models have slashes
    summary="Retrieve a model",
    **describe(Model, errors=(404, 500)),
)
async def retrieve(state: OpenState, _: CurrentUser, model_id: str) -> Response:
    served = await _served_model(state["models"])
    if model_id != served.id:
        raise ModelNotFound(model_id, served.id)
    return json_response(served)


async def _served_model(models: ServedModels) -> Model:
    served = await models.served_model()
    return Model(id=served.id, created=served.created, max_model_len=served.max_model_len or UNSET)
