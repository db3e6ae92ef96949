from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.inference import PromptMessage
from gateway.protocol.create import ResponseCreate
from gateway.protocol.items import Compaction, FunctionCallOutput, InputText, Message, MessageRole
from gateway.protocol.resources import Generation
from gateway.protocol.tools import FunctionTool, ReasoningConfig
from gateway.runtime.prompt_builder import PromptBuilder, prompt_digest
from gateway.runtime.user_encryption import UserEncryption
from gateway.turn.records import ThreadSnapshot
from tests.gateway.items import answer, question

USER = "user_1"
ENCRYPTION = UserEncryption(b"k" * 32)
BUILDER = PromptBuilder(ENCRYPTION, "be kind")
EMPTY = ThreadSnapshot([], 1)
TOOLS = (FunctionTool("add"),)


def compaction(user_id: str = USER) -> Compaction:
    return Compaction("cmp_1", ENCRYPTION.encrypt(user_id, "a summary"))


def instructions(text: str, role: MessageRole = "system") -> Message:
    return Message("msg_1", role, "completed", (InputText(text),))


async def test_the_prompt_holds_head_history_and_input() -> None:
    snapshot = ThreadSnapshot([question(2, "one"), answer(3, "1")], 4, head=(instructions("be brief"),))
    prompt = await BUILDER.build(USER, snapshot, [question(4, "two")])
    assert prompt.head == (PromptMessage("system", "be brief"),)
    assert prompt.exchanges == (
        (PromptMessage("user", "one"), PromptMessage("assistant", "1")),
        (PromptMessage("user", "two"),),
    )


async def test_an_output_whose_call_was_deleted_is_left_out_of_the_prompt() -> None:
    orphan = FunctionCallOutput("fco_1", "call_1", "2", "completed")
    prompt = await BUILDER.build(USER, ThreadSnapshot([question(1, "one"), orphan], 3), [question(3, "two")])
    assert [message.role for exchange in prompt.exchanges for message in exchange] == ["user", "user"]


async def test_a_compaction_is_decrypted_for_its_user_and_refused_for_another() -> None:
    assert await BUILDER.messages(USER, [compaction()]) == [PromptMessage("system", "a summary")]
    with pytest.raises(InvalidRequest):
        await BUILDER.messages(USER, [compaction("user_2")])


@pytest.mark.parametrize(
    ("request_has", "conversation_has", "expected"),
    [("be loud", "be brief", "be loud"), (None, "be brief", "be brief"), (None, None, "be kind")],
)
def test_the_request_overrides_the_conversation_and_that_the_deployment(
    request_has: str | None, conversation_has: str | None, expected: str
) -> None:
    snapshot = ThreadSnapshot([], 1, generation=Generation(instructions=conversation_has))
    assert BUILDER.system_prompt(ResponseCreate(instructions=request_has), snapshot, [question(1)]) == expected


@pytest.mark.parametrize(
    "snapshot", [EMPTY, ThreadSnapshot([instructions("be brief")], 2), ThreadSnapshot([], 2, head=(instructions("x"),))]
)
def test_leading_instructions_replace_the_deployments_system_prompt(snapshot: ThreadSnapshot) -> None:
    new = [instructions("be loud", "developer"), question(2)] if snapshot is EMPTY else [question(2)]
    assert BUILDER.system_prompt(ResponseCreate(), snapshot, new) is None
    assert BUILDER.system_prompt(ResponseCreate(instructions="be short"), snapshot, new) == "be short"


@pytest.mark.parametrize("items", [[compaction()], [question(1), instructions("be brief")]])
def test_a_compaction_or_later_instructions_do_not_replace_it(items: list[Any]) -> None:
    assert BUILDER.system_prompt(ResponseCreate(), ThreadSnapshot(items, 3), [question(3)]) == "be kind"


def test_an_empty_default_is_no_system_prompt() -> None:
    assert PromptBuilder(ENCRYPTION, "").system_prompt(ResponseCreate(), EMPTY, [question(1)]) is None


def test_the_digest_covers_everything_but_the_items() -> None:
    known = prompt_digest("m", "be kind", ResponseCreate(input="one", tools=TOOLS))
    assert known == prompt_digest("m", "be kind", ResponseCreate(input="two", tools=TOOLS, temperature=1.0))
    others = {
        prompt_digest("n", "be kind", ResponseCreate(tools=TOOLS)),
        prompt_digest("m", None, ResponseCreate(tools=TOOLS)),
        prompt_digest("m", "be kind", ResponseCreate()),
        prompt_digest("m", "be kind", ResponseCreate(tools=TOOLS, tool_choice="required")),
        prompt_digest("m", "be kind", ResponseCreate(tools=TOOLS, reasoning=ReasoningConfig("high"))),
    }
    assert len(others | {known}) == 6
