"""Whether a turn can start, and what it continues from, with a real history."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.context.defaults import Defaults
from gateway.errors import InvalidRequest, ModelNotFound, NotFound, ParleyError, PreviousResponseNotFound
from gateway.inference import PromptMessage, PromptToolCall
from gateway.protocol.create import ResponseCreate
from gateway.protocol.ids import new_conversation_id, new_response_id, position_in
from gateway.protocol.input_items import (
    InputCompaction,
    InputFunctionCall,
    InputFunctionCallOutput,
    InputItem,
    InputMessage,
)
from gateway.protocol.resources import Generation
from gateway.runtime.history_loader import HistoryLoader, UnstoredHistory
from gateway.runtime.preparation import PreparedTurn, TurnPreparation
from gateway.runtime.prompt_builder import PromptBuilder
from gateway.runtime.user_encryption import UserEncryption
from gateway.store.history.conversations import Conversations
from gateway.store.history.history_reader import HistoryReader
from gateway.turn.limits import MAX_ITEMS
from tests.gateway.builders import SAMPLING
from tests.gateway.replica import DEFAULTS, ENCRYPTION, FakeEngine, Replica, replica, text_stream

NOTHING: UnstoredHistory = {}
CALL = InputFunctionCall("call_1", "add", "{}")
RESULT = InputFunctionCallOutput("call_1", "2")


@pytest.fixture
async def gateway(port: int) -> AsyncIterator[Replica]:
    async with replica(port, FakeEngine(*text_stream("fine"))) as found:
        yield found


async def prepare(
    gateway: Replica, unstored: UnstoredHistory = NOTHING, user: str = "user_1", **fields: Any
) -> PreparedTurn:
    create = ResponseCreate(**({"input": "and now?"} | fields))
    return await gateway.preparation.prepare(user, create, unstored, response_id=new_response_id())


async def refusal(gateway: Replica, unstored: UnstoredHistory = NOTHING, **fields: Any) -> ParleyError:
    with pytest.raises(ParleyError) as caught:
        await prepare(gateway, unstored, **fields)
    return caught.value


async def create_conversation(redis: Redis, *items: InputItem, **generation: Any) -> str:
    made = await Conversations(redis).create("user_1", {}, items=items, generation=Generation(**generation))
    return made.id


def texts(prepared: PreparedTurn) -> list[str]:
    return [prompt.text for turn in (prepared.prompt.head, *prepared.prompt.exchanges) for prompt in turn]


async def test_a_turn_continues_from_its_conversation(gateway: Replica) -> None:
    conversation_id = await create_conversation(gateway.redis)
    await gateway.run_turn(ResponseCreate(input="how are you?", conversation=conversation_id))
    prepared = await prepare(gateway, conversation=conversation_id)
    assert texts(prepared) == ["how are you?", "fine", "and now?"]
    assert prepared.turn.request.conversation_id == prepared.turn.request.thread_id == conversation_id
    assert [position_in(item.id) for item in prepared.input] == [prepared.turn.request.first_position - 1]


async def test_a_chain_continues_at_its_end(gateway: Replica) -> None:
    first = (await gateway.run_turn(ResponseCreate(input="one")))[-1]["response"]["id"]
    second = (await gateway.run_turn(ResponseCreate(input="two", previous_response_id=first)))[-1]["response"]["id"]
    prepared = await prepare(gateway, previous_response_id=second)
    assert texts(prepared) == ["one", "fine", "two", "fine", "and now?"]
    assert prepared.turn.request.previous_response_id == second
    assert prepared.history.thread_id == (await gateway.responses.get("user_1", first)).thread_id


async def test_after_an_earlier_response_a_new_chain_begins(gateway: Replica) -> None:
    first = (await gateway.run_turn(ResponseCreate(input="one")))[-1]["response"]["id"]
    await gateway.run_turn(ResponseCreate(input="two", previous_response_id=first))
    branch = ResponseCreate(input="another two", previous_response_id=first)
    last = (await gateway.run_turn(branch))[-1]["response"]["id"]
    assert gateway.engine.prompt_texts == ["be kind", "one", "fine", "another two"]
    assert texts(await prepare(gateway, previous_response_id=last)) == [
        "one",
        "fine",
        "another two",
        "fine",
        "and now?",
    ]


async def test_a_response_of_a_conversation_can_be_continued_outside_it(gateway: Replica) -> None:
    conversation_id = await create_conversation(gateway.redis)
    first = (await gateway.run_turn(ResponseCreate(input="one", conversation=conversation_id)))[-1]["response"]["id"]
    prepared = await prepare(gateway, previous_response_id=first)
    assert texts(prepared) == ["one", "fine", "and now?"]
    assert prepared.turn.request.thread_id != conversation_id


async def test_an_unstored_turn_continues_from_memory_and_from_stored_responses(gateway: Replica) -> None:
    stored = (await gateway.run_turn(ResponseCreate(input="one")))[-1]["response"]["id"]
    running = await gateway.begin_turn(ResponseCreate(input="two", previous_response_id=stored, store=False))
    await running.log.events.wait_closed()
    unstored = {running.request.response_id: running.items}
    prepared = await prepare(
        gateway, unstored, previous_response_id=running.request.response_id, store=False, input="three"
    )
    assert texts(prepared) == ["one", "fine", "two", "fine", "three"]
    assert not prepared.turn.request.stored


async def test_a_stored_turn_cannot_continue_from_an_unstored_response(gateway: Replica) -> None:
    error = await refusal(gateway, {"resp_a": ()}, previous_response_id="resp_a")
    assert (error.code, error.param) == ("invalid_request", "store")


async def test_an_unstored_turn_reads_and_writes_no_key(gateway: Replica, redis: Redis) -> None:
    await prepare(gateway, store=False)
    assert await redis.keys("parley:{*") == []


async def test_another_users_response_or_conversation_is_refused_like_an_absent_one(gateway: Replica) -> None:
    mine = (await gateway.run_turn(ResponseCreate(input="one")))[-1]["response"]["id"]
    conversation_id = await create_conversation(gateway.redis)
    messages = set()
    for attempt in (
        prepare(gateway, user="user_2", previous_response_id=mine),
        prepare(gateway, previous_response_id=new_response_id()),
    ):
        with pytest.raises(PreviousResponseNotFound) as previous:
            await attempt
        messages.add(previous.value.message)
    for attempt in (
        prepare(gateway, user="user_2", conversation=conversation_id),
        prepare(gateway, conversation=new_conversation_id()),
    ):
        with pytest.raises(NotFound) as absent:
            await attempt
        messages.add(absent.value.message)
    assert len(messages) == 2


async def test_a_response_in_progress_cannot_be_continued(gateway: Replica) -> None:
    running = await gateway.begin_turn(ResponseCreate(input="one"))
    error = await refusal(gateway, previous_response_id=running.request.response_id)
    assert (error.status, error.param) == (400, "previous_response_id")
    await running.log.events.wait_closed()


async def test_another_model_is_refused_by_name(gateway: Replica) -> None:
    error = await refusal(gateway, model="gpt-9")
    assert isinstance(error, ModelNotFound)
    assert "gpt-9" in error.message
    assert "parley-demo" in error.message
    assert await prepare(gateway, model="parley-demo")


async def test_the_most_specific_system_prompt_is_sent(gateway: Replica) -> None:
    conversation_id = await create_conversation(gateway.redis, instructions="be brief", temperature=0.0)
    assert (await prepare(gateway)).turn.request.system_prompt == "be kind"
    in_conversation = await prepare(gateway, conversation=conversation_id)
    assert in_conversation.turn.request.system_prompt == "be brief"
    assert in_conversation.turn.request.sampling.temperature == 0.0
    nearest = await prepare(gateway, conversation=conversation_id, instructions="be loud", temperature=1.0)
    assert nearest.turn.request.system_prompt == "be loud"
    assert nearest.turn.request.sampling.temperature == 1.0
    assert nearest.turn.request.instructions == "be loud"


@pytest.mark.parametrize("role", ["system", "developer"])
async def test_a_leading_system_message_replaces_the_deployments_system_prompt(gateway: Replica, role: Any) -> None:
    prepared = await prepare(gateway, input=(InputMessage(role, "be loud"), InputMessage("user", "hi")))
    assert prepared.turn.request.system_prompt is None
    assert prepared.prompt.exchanges == ((PromptMessage("system", "be loud"), PromptMessage("user", "hi")),)


async def test_a_later_system_message_does_not_replace_the_deployments_system_prompt(gateway: Replica) -> None:
    conversation_id = await create_conversation(
        gateway.redis, InputMessage("user", "one"), InputMessage("system", "be loud")
    )
    prepared = await prepare(gateway, conversation=conversation_id)
    assert prepared.turn.request.system_prompt == "be kind"
    assert texts(prepared) == ["one", "be loud", "and now?"]


async def test_leading_instructions_of_a_long_conversation_replace_the_deployments_system_prompt(
    gateway: Replica, redis: Redis
) -> None:
    first = InputMessage("system", "be loud")
    conversation_id = await create_conversation(
        redis, first, *(InputMessage("user", f"{number}") for number in range(5))
    )
    prepared = await with_few_recent_items(gateway, redis).prepare(
        "user_1",
        ResponseCreate(input="now", conversation=conversation_id),
        NOTHING,
        response_id=new_response_id(),
    )
    assert (prepared.turn.request.system_prompt, prepared.prompt.head, prepared.older_count) == (
        None,
        (PromptMessage("system", "be loud"),),
        1,
    )
    restored = await with_few_recent_items(gateway, redis).restore(prepared.turn.request, prepared.input)
    assert (restored.prompt.head, texts(restored), restored.older_count) == (prepared.prompt.head, texts(prepared), 1)
    for prepared_turn in (prepared, restored):
        one = await with_few_recent_items(gateway, redis).load_older(prepared_turn, 10)
        assert texts(one) == ["be loud", *"01234", "now"]
        assert one.older_count == 0


async def test_without_any_system_prompt_none_is_sent(port: int) -> None:
    async with replica(port, defaults=Defaults("", SAMPLING)) as gateway:
        assert (await prepare(gateway)).turn.request.system_prompt is None


async def test_a_compaction_is_decrypted_only_for_its_user(gateway: Replica) -> None:
    mine = InputCompaction(ENCRYPTION.encrypt("user_1", "a summary"))
    other_servers = InputCompaction(UserEncryption(b"o" * 32).encrypt("user_1", "a summary"))
    question = InputMessage("user", "hi")
    assert texts(await prepare(gateway, input=(mine, question))) == ["a summary", "hi"]
    assert isinstance(await refusal(gateway, input=(other_servers, question)), InvalidRequest)


async def test_a_compaction_does_not_replace_the_deployments_system_prompt(gateway: Replica) -> None:
    compaction = InputCompaction(ENCRYPTION.encrypt("user_1", "a summary"))
    assert (
        await prepare(gateway, input=(compaction, InputMessage("user", "hi")))
    ).turn.request.system_prompt == "be kind"


async def test_the_output_of_a_known_call_is_accepted(gateway: Replica) -> None:
    conversation_id = await create_conversation(gateway.redis, InputMessage("user", "1+1?"), CALL)
    (exchange,) = (await prepare(gateway, conversation=conversation_id, input=(RESULT,))).prompt.exchanges
    assert exchange == (
        PromptMessage("user", "1+1?"),
        PromptMessage("assistant", "", (PromptToolCall("call_1", "add", "{}"),)),
        PromptMessage("tool", "2", call_id="call_1"),
    )


async def test_a_call_among_the_older_items_is_found(gateway: Replica, redis: Redis) -> None:
    later = (InputMessage("user", f"{number}") for number in range(10))
    conversation_id = await create_conversation(redis, InputMessage("user", "1+1?"), CALL, *later)
    create = ResponseCreate(input=(RESULT,), conversation=conversation_id)
    prepared = await with_few_recent_items(gateway, redis).prepare(
        "user_1", create, NOTHING, response_id=new_response_id()
    )
    assert prepared.older_count == 0


async def test_more_items_than_the_limit_are_refused_in_a_conversation_and_in_a_chain(gateway: Replica) -> None:
    many = tuple(InputMessage("user", "") for _ in range(MAX_ITEMS))
    conversation_id = await create_conversation(gateway.redis)
    for place in (conversation_id, None):
        assert (await refusal(gateway, input=many, conversation=place)).code == "storage_limit_reached"


@pytest.mark.parametrize("fields", [(RESULT,), (InputFunctionCall("call_2", "add", "{}"), RESULT)])
async def test_the_output_of_an_unknown_call_is_refused_by_name(
    gateway: Replica, fields: tuple[InputItem, ...]
) -> None:
    error = await refusal(gateway, input=fields)
    assert isinstance(error, InvalidRequest)
    assert "call_1" in error.message
    assert error.param == "input"


async def test_a_deleted_call_does_not_break_its_conversation(gateway: Replica) -> None:
    conversation_id = await create_conversation(gateway.redis, InputMessage("user", "1+1?"), CALL, RESULT)
    items = Conversations(gateway.redis).items
    page = await items.page("user_1", conversation_id, limit=10, after=None, order="asc")
    await items.delete("user_1", conversation_id, page.data[1].id)
    prepared = await prepare(gateway, conversation=conversation_id)
    assert not any(prompt.role == "tool" for turn in prepared.prompt.exchanges for prompt in turn)


def with_few_recent_items(gateway: Replica, redis: Redis) -> TurnPreparation:
    """Reads only four items of a history first."""
    history = HistoryLoader(HistoryReader(redis, recent_items=4), gateway.responses)
    return TurnPreparation(gateway.engine, history, gateway.prompts, defaults=DEFAULTS)


def with_defaults(gateway: Replica, defaults: Defaults) -> TurnPreparation:
    history = HistoryLoader(gateway.history_reader, gateway.responses)
    prompts = PromptBuilder(ENCRYPTION, defaults.system_prompt)
    return TurnPreparation(gateway.engine, history, prompts, defaults=defaults)


async def test_prompts_that_differ_in_more_than_their_items_have_another_digest(gateway: Replica) -> None:
    one, same = await prepare(gateway, input="a"), await prepare(gateway, input="b", temperature=1.0)
    assert one.turn.request.prompt_digest == same.turn.request.prompt_digest
    assert (await prepare(gateway, instructions="be loud")).turn.request.prompt_digest != one.turn.request.prompt_digest


async def test_another_system_prompt_of_the_deployment_changes_the_digest(gateway: Replica) -> None:
    digests = set()
    for text in ("be kind", "be kind and brief"):
        other = with_defaults(gateway, Defaults(text, DEFAULTS.sampling))
        prepared = await other.prepare("user_1", ResponseCreate(input="hi"), NOTHING, response_id=new_response_id())
        digests.add(prepared.turn.request.prompt_digest)
    assert len(digests) == 2


async def test_a_turn_is_restored_from_its_stored_request(gateway: Replica) -> None:
    conversation_id = await create_conversation(
        gateway.redis, InputMessage("user", "one"), InputMessage("assistant", "fine")
    )
    running = await gateway.begin_turn(ResponseCreate(input="two", conversation=conversation_id))
    await running.log.events.wait_closed()
    restored = await gateway.preparation.restore(running.request, running.prepared.input)
    assert restored.prompt.exchanges == running.prepared.prompt.exchanges
    assert restored.items == running.prepared.items
    assert (restored.turn.request.system_prompt, restored.turn.request) == (
        running.prepared.turn.request.system_prompt,
        running.request,
    )


async def test_a_restored_turn_does_not_include_items_added_since(gateway: Replica) -> None:
    conversation_id = await create_conversation(gateway.redis)
    gateway.engine.hold = asyncio.Event()
    first = await gateway.begin_turn(ResponseCreate(input="one", conversation=conversation_id))
    second = await gateway.begin_turn(ResponseCreate(input="two", conversation=conversation_id))
    gateway.engine.hold.set()
    for running in (first, second):
        await running.log.events.wait_closed()
    stored = (await gateway.responses.interrupted("user_1", second.request.response_id)).request
    assert (
        texts(await gateway.preparation.restore(stored, second.prepared.input))
        == texts(second.prepared)
        == ["one", "two"]
    )
    unlisted = msgspec.structs.replace(stored, history_positions=None)  # as an earlier version stored it
    assert texts(await gateway.preparation.restore(unlisted, second.prepared.input)) == ["one", "fine", "two"]


async def test_a_restored_turn_reads_as_much_of_a_long_conversation(gateway: Replica, redis: Redis) -> None:
    conversation_id = await create_conversation(redis, *(InputMessage("user", f"{number}") for number in range(6)))
    gateway.engine.hold = asyncio.Event()
    first = await gateway.begin_turn(ResponseCreate(input="one", conversation=conversation_id))
    create = ResponseCreate(input="two", conversation=conversation_id)
    second = await with_few_recent_items(gateway, redis).prepare(
        "user_1", create, NOTHING, response_id=new_response_id()
    )
    gateway.engine.hold.set()
    await first.log.events.wait_closed()
    restored = await with_few_recent_items(gateway, redis).restore(second.turn.request, second.input)
    assert texts(restored) == texts(second) == ["3", "4", "5", "one", "two"]
    assert restored.older_count == second.older_count == 3
