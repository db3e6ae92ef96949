"""Items and ids of the conversations in these tests."""

from gateway.protocol.ids import new_item_id
from gateway.protocol.input_items import InputMessage
from gateway.protocol.items import InputText, Message, OutputText

ALICE, BOB = "user_a", "user_b"
ABSENT = "conv_" + "0" * 32
MALFORMED_IDS = ["conv_a:items", "conv_*", "../x", "conv_{user_b}", "", "conv_\ud800", "conv_" + "a" * 65, "thread_a"]


def question(position: int, text: str = "?") -> Message:
    return Message(new_item_id("msg", position), "user", "completed", (InputText(text),))


def answer(position: int, text: str = "!") -> Message:
    return Message(new_item_id("msg", position), "assistant", "completed", (OutputText(text),))


def input_messages(*texts: str) -> list[InputMessage]:
    """Input messages as a client sends them."""
    return [InputMessage("user", text) for text in texts]
