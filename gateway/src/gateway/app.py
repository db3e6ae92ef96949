"""The web application: its routes and its error handlers."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.routing import WebSocketRoute

from gateway.errors import ParleyError
from gateway.lifespan import lifespan
from gateway.routes import chat_completions, conversations, health, models, openapi, responses, usage
from gateway.routes.json_responses import handle_error
from gateway.routes.plain_text import plain_text
from gateway.routes.responses_socket import responses_socket, upgrade_description, upgrade_required
from gateway.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    app = FastAPI(title="Parley", lifespan=lifespan(settings), openapi_url=None, redirect_slashes=False)
    for router in (health, conversations, responses, chat_completions, models, usage):
        app.include_router(router.router)
    app.add_api_route("/v1/responses", upgrade_required, methods=["GET"], **upgrade_description)
    app.router.routes.append(WebSocketRoute("/v1/responses", responses_socket))
    if settings.plain_text_protocol:
        app.add_api_route("/ws", upgrade_required, methods=["GET"], include_in_schema=False)
        app.router.routes.append(WebSocketRoute("/ws", plain_text))
    openapi.publish(app)
    app.add_exception_handler(ParleyError, handle_error)
    app.add_exception_handler(HTTPException, handle_error)
    app.add_exception_handler(RequestValidationError, handle_error)
    app.add_exception_handler(Exception, handle_error)
    return app
