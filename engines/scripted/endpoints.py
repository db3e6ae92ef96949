"""The engine: dispatches each request to its endpoint."""

import time
from typing import Final

from engines.scripted import bodies, metrics
from engines.scripted.completions import Completions
from engines.scripted.connection import Connection, Request
from engines.scripted.control import Control
from engines.scripted.errors import EngineError, ScriptedStatus
from engines.scripted.pacer import Pacer
from engines.scripted.prompts import chat_text, check_model, ids_of
from engines.scripted.request_log import LoggedRequest
from engines.scripted.requests import (
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    TokenizeChat,
    read_body,
    read_tokenize,
)
from engines.scripted.routing import Reply, Routes, dispatch, require_method, send_error, send_reply
from engines.scripted.settings import EngineSettings
from engines.scripted.tokenizer import decode

_GENERATING: Final[dict[str, type[ChatRequest] | type[CompletionRequest]]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
}


class Engine:
    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._metrics = metrics.Metrics(settings.model)
        self._pacer = Pacer(settings.max_num_seqs, self._metrics)
        self._completions = Completions(settings, self._pacer)
        self._control = Control(settings.keep_requests)
        self._started = int(time.time())
        self._routes: Routes = {
            "/tokenize": {"POST": self._tokenize},
            "/detokenize": {"POST": self._detokenize},
            "/v1/models": {"GET": self._models},
            "/version": {"GET": lambda _: {"version": "0.32.0"}},
            "/health": {"GET": lambda _: None},
            "/metrics": {"GET": self._render_metrics},
        }

    def handle(self, request: Request, connection: Connection) -> None:
        entry = LoggedRequest(request)
        try:
            if request.path in self._control.routes:
                send_reply(connection, dispatch(self._control.routes, request))
            else:
                self._serve(entry, connection)
        except EngineError as exc:
            entry.status = exc.status
            send_error(connection, exc)

    def _serve(self, entry: LoggedRequest, connection: Connection) -> None:
        request = entry.request
        if request.method == "POST":
            self._control.request_log.append(entry)
        shape = _GENERATING.get(request.path)
        posted = self._control.script_for(generates=shape is not None)
        if posted.refuse:
            connection.drop(b"", "reset")
        elif shape is not None:
            require_method(request, ["POST"])
            self._completions.start(read_body(request, shape), posted, entry, connection)
        elif posted.status is not None:
            raise ScriptedStatus(posted.status)
        else:
            send_reply(connection, dispatch(self._routes, request))
            entry.status = 200

    def _tokenize(self, request: Request) -> Reply:
        body = read_tokenize(request)
        check_model(body.model, self._settings.model)
        text = chat_text(body) if isinstance(body, TokenizeChat) else body.prompt
        return bodies.tokenized(ids_of(text), self._settings.max_model_len, strings=bool(body.return_token_strs))

    def _detokenize(self, request: Request) -> Reply:
        body = read_body(request, DetokenizeRequest)
        check_model(body.model, self._settings.model)
        return {"prompt": decode(body.tokens)}

    def _models(self, _: Request) -> Reply:
        return bodies.model_list(self._settings.model, self._settings.max_model_len, self._started)

    def _render_metrics(self, _: Request) -> Reply:
        text = self._metrics.render(len(self._pacer.running), len(self._pacer.waiting))
        return text, metrics.CONTENT_TYPE
