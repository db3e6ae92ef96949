import re

import pytest

from gateway.protocol import ids

POSITION = 300


@pytest.mark.parametrize("make", [ids.new_response_id, ids.new_conversation_id, ids.new_thread_id, ids.new_call_id])
def test_a_new_id_has_at_least_96_random_bits(make: object) -> None:
    assert callable(make)
    one, other = make(), make()
    assert one != other
    assert re.fullmatch(r"[a-z]+_[0-9a-f]{24,32}", one)


def test_the_id_of_an_item_contains_its_position() -> None:
    assert ids.position_in(ids.new_item_id("msg", POSITION)) == POSITION
    assert ids.new_item_id("msg", POSITION) != ids.new_item_id("msg", POSITION)


def test_every_gateway_derives_the_same_id_for_an_output_item() -> None:
    derived = ids.item_id_in("resp_1", "fc", POSITION)
    assert derived == ids.item_id_in("resp_1", "fc", POSITION)
    assert derived != ids.item_id_in("resp_2", "fc", POSITION)
    assert ids.position_in(derived) == POSITION


@pytest.mark.parametrize("text", ["", "msg_1", "msg_0000000g" + "0" * 24, "resp_" + "0" * 32, "fc_" + "0" * 33])
def test_other_text_has_no_position(text: str) -> None:
    assert ids.position_in(text) is None


@pytest.mark.parametrize(
    "text", ["", "conv_", "resp_", "conv_a:b", "resp_{x}", "conv_" + "0" * 65, "conv_é", "conv_a\n"]
)
def test_an_id_that_was_not_made_here_never_becomes_part_of_a_key(text: str) -> None:
    assert not ids.is_conversation_id(text)
    assert not ids.is_response_id(text)


def test_an_id_has_the_prefix_of_its_type() -> None:
    assert ids.is_conversation_id(ids.new_conversation_id())
    assert ids.is_response_id(ids.new_response_id())
    assert not ids.is_response_id(ids.new_conversation_id())
