"""What is stored keeps its names from version to version: `records`, `turn_request`, `commands`, `limits`."""

import msgspec
import pytest

from gateway.context.prompt import TokenCountCheckpoint
from gateway.errors import StorageLimit
from gateway.inference import OutputOptions, Sampling
from gateway.protocol.items import Item
from gateway.protocol.resources import encoded
from gateway.protocol.tools import FunctionTool
from gateway.turn.limits import MAX_ITEMS, check_item_limit
from gateway.turn.records import ThreadSnapshot
from gateway.turn.turn_request import TurnRequest
from tests.gateway.items import question

REQUEST = (
    '{"response_id":"resp_1","user_id":"user_1","model":"m","sampling":{"temperature":0.45,"top_p":0.9,'
    '"repetition_penalty":1.2,"max_output_tokens":1000,"presence_penalty":0.0,"frequency_penalty":0.0},"form":{"tools":'
    '[{"type":"function","name":"add","description":null,"parameters":null,"strict":null}],"tool_choice":"auto",'
    '"parallel_tool_calls":true,"format":{"type":"text"},"reasoning_effort":null},"created_at":1700000000,"position":3,'
    '"thread":"conv_1","conversation_id":"conv_1","previous_response_id":null,"instructions":null,"metadata":{"a":"b"},'
    '"max_output_tokens":null,"truncation":"auto","background":false,"generate":true,"reasoning":null,'
    '"safety_identifier":null,"prompt_cache_key":null,"system":"be kind","shape":"0123","before":[1,2],"older":4}'
)
CHECKPOINT = '{"tokens":5,"limit":4096,"items":2,"last":2,"shape":"0123"}'


def test_the_request_of_a_turn_is_stored_as_before() -> None:
    request = TurnRequest(
        response_id="resp_1",
        user_id="user_1",
        model="m",
        sampling=Sampling(0.45, 0.9, 1.2, 1000),
        options=OutputOptions(tools=(FunctionTool("add"),)),
        created_at=1_700_000_000,
        first_position=3,
        thread_id="conv_1",
        conversation_id="conv_1",
        metadata={"a": "b"},
        truncation="auto",
        system_prompt="be kind",
        prompt_digest="0123",
        history_positions=(1, 2),
        older_count=4,
    )
    assert encoded(request).decode() == REQUEST
    assert msgspec.json.decode(REQUEST, type=TurnRequest) == request


def test_a_token_count_checkpoint_is_stored_as_before() -> None:
    checkpoint = TokenCountCheckpoint(5, 4096, 2, 2, "0123")
    assert encoded(checkpoint).decode() == CHECKPOINT
    assert msgspec.json.decode(CHECKPOINT, type=TokenCountCheckpoint) == checkpoint


@pytest.mark.parametrize(("items", "first"), [([], 7), ([question(3), question(4)], 3)])
def test_older_items_stand_before_the_first_one_that_was_read(items: list[Item], first: int) -> None:
    assert ThreadSnapshot(items, 7).first_position == first


def test_the_item_limit_counts_stored_and_new_items() -> None:
    check_item_limit(MAX_ITEMS - 1, 1)
    with pytest.raises(StorageLimit):
        check_item_limit(MAX_ITEMS, 1)
