from gateway.protocol.resources import Usage
from gateway.runtime.generation_state import GenerationState

REPORTED = Usage(10, 20, 30)


def test_the_usage_of_one_call_is_as_the_engine_reported_it() -> None:
    assert GenerationState([1, 2], (5, 6, 7), reported=REPORTED).usage is REPORTED


def test_after_a_continuation_the_usage_is_counted_from_token_ids() -> None:
    state = GenerationState([1, 2], (5, 6, 7), reported=REPORTED, is_one_call=False)
    assert state.usage == Usage(3, 2, 5)


def test_an_interrupted_answer_has_a_usage_without_a_report() -> None:
    assert GenerationState([1, 2], (5, 6, 7)).usage == Usage(3, 2, 5)


def test_the_size_of_the_prompt_replaces_ids_that_are_not_known_here() -> None:
    assert GenerationState([1, 2], prompt_tokens=9).usage == Usage(9, 2, 11)
    assert GenerationState([1, 2], (5, 6, 7), prompt_tokens=9).usage == Usage(3, 2, 5)


def test_without_a_prompt_there_is_no_usage() -> None:
    assert GenerationState([1, 2]).usage is None
