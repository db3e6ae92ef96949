"""From a request to its prompt's token ids, with vLLM's checks."""

from dataclasses import dataclass

from engines.scripted import limits
from engines.scripted.errors import BadRequest, ModelNotFound
from engines.scripted.requests import ChatRequest, CompletionRequest, TokenizeChat
from engines.scripted.template import render
from engines.scripted.tokenizer import encode


@dataclass(frozen=True, slots=True)
class Prompt:
    ids: tuple[int, ...]
    # For a chat only; what vLLM returns for return_prompt_text.
    text: str | None = None


def prompt_of(request: ChatRequest | CompletionRequest, context: int) -> Prompt:
    if isinstance(request, ChatRequest):
        text = chat_text(request)
        return Prompt(_ids_within(text, context), text)
    if isinstance(request.prompt, str):
        return Prompt(_ids_within(request.prompt, context))
    if not request.prompt:
        raise BadRequest("You must pass at least one prompt")
    ids = tuple(token for token in request.prompt if isinstance(token, int))
    limits.check_vocabulary(ids)
    limits.check_prompt_length(ids, context, from_text=False)
    return Prompt(ids)


def chat_text(chat: ChatRequest | TokenizeChat) -> str:
    if not chat.messages:
        raise BadRequest("Cannot apply chat template to an empty conversation. Provide at least one message.")
    if any(message.has_media for message in chat.messages):
        raise BadRequest("This model is not a multimodal model")
    return render(
        [message.flattened() for message in chat.messages],
        [tool.to_dict() for tool in chat.tools or ()],
        add_generation_prompt=chat.add_generation_prompt,
        continue_final_message=chat.continue_final_message,
    )


def ids_of(text: str) -> tuple[int, ...]:
    try:
        return tuple(encode(text))
    except UnicodeEncodeError as exc:  # a lone surrogate
        raise BadRequest(
            "TextEncodeInput must be Union[TextInputSequence, Tuple[InputSequence, InputSequence]]"
        ) from exc


def check_model(requested: str | None, served: str) -> None:
    if requested and requested != served:
        raise ModelNotFound(requested, served)


def _ids_within(text: str, context: int) -> tuple[int, ...]:
    limits.check_text_length(text, context)
    ids = ids_of(text)
    limits.check_prompt_length(ids, context, from_text=True)
    return ids
