from typing import Any

import pytest

from gateway import errors


def subclasses(kind: type) -> list[Any]:
    children: list[Any] = kind.__subclasses__()
    return [one for child in children for one in (child, *subclasses(child))]


ERRORS = subclasses(errors.ParleyError)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_has_a_status_a_type_and_a_code(error: type[errors.ParleyError]) -> None:
    assert 400 <= error.status < 600
    assert error.type
    assert error.code


def test_the_docstring_draws_every_error_with_the_status_that_it_changes() -> None:
    drawn = errors.__doc__ or ""
    for error in ERRORS:
        (parent,) = error.__bases__
        status = f" ({error.status})" if error.status != getattr(parent, "status", None) else ""
        assert f"── {error.__name__}{status}\n" in drawn


def test_the_body_is_the_error_object_of_the_wire() -> None:
    body = errors.ModelNotFound("gpt-9", "parley-demo").body()
    message = "model 'gpt-9'; this server serves 'parley-demo'"
    assert body == {
        "type": "invalid_request_error",
        "code": "model_not_found",
        "message": f"no such {message}",
        "param": "model",
    }


def test_a_temporary_error_says_when_to_retry() -> None:
    assert errors.Unavailable("vllm").headers() == {"Retry-After": "1"}
    assert errors.StorageFull().headers() == {"Retry-After": "30"}
    assert errors.NotFound("item").headers() == {}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.EventsExpired(), "the events of this response have expired; retrieve it without `stream`"),
        (errors.EventsLost(), "the storage has lost events of this response; retrieve it again without"),
        (errors.ShuttingDown(), "this gateway is about to restart; try again"),
        (errors.StorageLimit("conversations", 10), "you have reached the limit of 10 conversations"),
        (errors.OriginRefused("https://x"), "requests from origin 'https://x' may not use this site's session"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_text_of_an_error_is_its_message(error: errors.ParleyError, message: str) -> None:
    assert str(error) == error.message
    assert error.message.startswith(message)
