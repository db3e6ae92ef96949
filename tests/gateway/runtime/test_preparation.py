"""May a turn start, and from what: against the real history."""

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
from gateway.store.history.turn_store import TurnStore
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


async def prepared(
    gateway: Replica, remembered: UnstoredHistory = NOTHING, user: str = "user_1", **asked: Any
) -> PreparedTurn:
    create = ResponseCreate(**({"input": "and now?"} | asked))
    return await gateway.preparation.prepare(user, create, remembered, response_id=new_response_id())


async def refused(gateway: Replica, remembered: UnstoredHistory = NOTHING, **asked: Any) -> ParleyError:
    with pytest.raises(ParleyError) as caught:
        await prepared(gateway, remembered, **asked)
    return caught.value


async def conversation(redis: Redis, *items: InputItem, **generation: Any) -> str:
    made = await Conversations(redis).create("user_1", {}, items=items, generation=Generation(**generation))
    return made.id


def told(accepted: PreparedTurn) -> list[str]:
    return [prompt.text for turn in (accepted.prompt.head, *accepted.prompt.exchanges) for prompt in turn]


async def test_a_turn_continues_from_its_conversation(gateway: Replica) -> None:
    within = await conversation(gateway.redis)
    await gateway.run_turn(ResponseCreate(input="how are you?", conversation=within))
    accepted = await prepared(gateway, conversation=within)
    assert told(accepted) == ["how are you?", "fine", "and now?"]
    assert accepted.turn.request.conversation_id == accepted.turn.request.thread_id == within
    assert [position_in(item.id) for item in accepted.input] == [accepted.turn.request.first_position - 1]


async def test_a_chain_continues_at_its_end(gateway: Replica) -> None:
    first = (await gateway.run_turn(ResponseCreate(input="one")))[-1]["response"]["id"]
    second = (await gateway.run_turn(ResponseCreate(input="two", previous_response_id=first)))[-1]["response"]["id"]
    accepted = await prepared(gateway, previous_response_id=second)
    assert told(accepted) == ["one", "fine", "two", "fine", "and now?"]
    assert accepted.turn.request.previous_response_id == second
    assert not accepted.history.is_copied


async def test_after_an_earlier_response_a_new_chain_begins_with_a_copy(gateway: Replica) -> None:
    first = (await gateway.run_turn(ResponseCreate(input="one")))[-1]["response"]["id"]
    await gateway.run_turn(ResponseCreate(input="two", previous_response_id=first))
    branch = ResponseCreate(input="another two", previous_response_id=first)
    last = (await gateway.run_turn(branch))[-1]["response"]["id"]
    assert gateway.engine.prompt_texts == ["be kind", "one", "fine", "another two"]
    assert told(await prepared(gateway, previous_response_id=last)) == [
        "one",
        "fine",
        "another two",
        "fine",
        "and now?",
    ]


async def test_a_response_of_a_conversation_can_be_continued_outside_it(gateway: Replica) -> None:
    within = await conversation(gateway.redis)
    first = (await gateway.run_turn(ResponseCreate(input="one", conversation=within)))[-1]["response"]["id"]
    accepted = await prepared(gateway, previous_response_id=first)
    assert told(accepted) == ["one", "fine", "and now?"]
    assert accepted.history.is_copied
    assert accepted.turn.request.thread_id != within


async def test_an_unstored_turn_continues_from_memory_and_from_stored_responses(gateway: Replica) -> None:
    stored = (await gateway.run_turn(ResponseCreate(input="one")))[-1]["response"]["id"]
    running = await gateway.begin_turn(ResponseCreate(input="two", previous_response_id=stored, store=False))
    await running.log.events.wait_closed()
    remembered = {running.request.response_id: running.items}
    accepted = await prepared(
        gateway, remembered, previous_response_id=running.request.response_id, store=False, input="three"
    )
    assert told(accepted) == ["one", "fine", "two", "fine", "three"]
    assert not accepted.turn.request.stored


async def test_a_stored_turn_cannot_continue_from_an_unstored_response(gateway: Replica) -> None:
    error = await refused(gateway, {"resp_a": ()}, previous_response_id="resp_a")
    assert (error.code, error.param) == ("invalid_request", "store")


async def test_an_unstored_turn_reads_and_writes_no_key(gateway: Replica, redis: Redis) -> None:
    await prepared(gateway, store=False)
    assert await redis.keys("parley:{*") == []


async def test_another_users_response_or_conversation_is_refused_like_an_absent_one(gateway: Replica) -> None:
    mine = (await gateway.run_turn(ResponseCreate(input="one")))[-1]["response"]["id"]
    within = await conversation(gateway.redis)
    messages = set()
    for asked in (
        prepared(gateway, user="user_2", previous_response_id=mine),
        prepared(gateway, previous_response_id=new_response_id()),
    ):
        with pytest.raises(PreviousResponseNotFound) as previous:
            await asked
        messages.add(previous.value.message)
    for asked in (
        prepared(gateway, user="user_2", conversation=within),
        prepared(gateway, conversation=new_conversation_id()),
    ):
        with pytest.raises(NotFound) as absent:
            await asked
        messages.add(absent.value.message)
    assert len(messages) == 2


async def test_a_response_in_progress_cannot_be_continued(gateway: Replica) -> None:
    running = await gateway.begin_turn(ResponseCreate(input="one"))
    error = await refused(gateway, previous_response_id=running.request.response_id)
    assert (error.status, error.param) == (400, "previous_response_id")
    await running.log.events.wait_closed()


async def test_another_model_is_refused_by_name(gateway: Replica) -> None:
    error = await refused(gateway, model="gpt-9")
    assert isinstance(error, ModelNotFound)
    assert "gpt-9" in error.message
    assert "parley-demo" in error.message
    assert await prepared(gateway, model="parley-demo")


async def test_the_most_specific_system_prompt_is_sent(gateway: Replica) -> None:
    within = await conversation(gateway.redis, instructions="be brief", temperature=0.0)
    assert (await prepared(gateway)).turn.request.system_prompt == "be kind"
    in_conversation = await prepared(gateway, conversation=within)
    assert in_conversation.turn.request.system_prompt == "be brief"
    assert in_conversation.turn.request.sampling.temperature == 0.0
    nearest = await prepared(gateway, conversation=within, instructions="be loud", temperature=1.0)
    assert nearest.turn.request.system_prompt == "be loud"
    assert nearest.turn.request.sampling.temperature == 1.0
    assert nearest.turn.request.instructions == "be loud"


@pytest.mark.parametrize("role", ["system", "developer"])
async def test_a_leading_system_message_replaces_the_deployments_system_prompt(gateway: Replica, role: Any) -> None:
    accepted = await prepared(gateway, input=(InputMessage(role, "be loud"), InputMessage("user", "hi")))
    assert accepted.turn.request.system_prompt is None
    assert accepted.prompt.exchanges == ((PromptMessage("system", "be loud"), PromptMessage("user", "hi")),)


async def test_a_later_system_message_does_not_replace_the_deployments_system_prompt(gateway: Replica) -> None:
    within = await conversation(gateway.redis, InputMessage("user", "one"), InputMessage("system", "be loud"))
    accepted = await prepared(gateway, conversation=within)
    assert accepted.turn.request.system_prompt == "be kind"
    assert told(accepted) == ["one", "be loud", "and now?"]


async def test_leading_instructions_of_a_long_conversation_replace_the_deployments_system_prompt(
    gateway: Replica, redis: Redis
) -> None:
    first = InputMessage("system", "be loud")
    within = await conversation(redis, first, *(InputMessage("user", f"{number}") for number in range(5)))
    accepted = await limited(gateway, redis).prepare(
        "user_1", ResponseCreate(input="now", conversation=within), NOTHING, response_id=new_response_id()
    )
    assert (accepted.turn.request.system_prompt, accepted.prompt.head, accepted.older_count) == (
        None,
        (PromptMessage("system", "be loud"),),
        1,
    )
    again = await limited(gateway, redis).restore(accepted.turn.request, accepted.input)
    assert (again.prompt.head, told(again), again.older_count) == (accepted.prompt.head, told(accepted), 1)
    for prepared_turn in (accepted, again):
        one = await limited(gateway, redis).load_older(prepared_turn, 10)
        assert told(one) == ["be loud", *"01234", "now"]
        assert one.older_count == 0


async def test_without_any_system_prompt_none_is_sent(port: int) -> None:
    async with replica(port, defaults=Defaults("", SAMPLING)) as gateway:
        assert (await prepared(gateway)).turn.request.system_prompt is None


async def test_a_compaction_is_decrypted_only_for_its_user(gateway: Replica) -> None:
    mine = InputCompaction(ENCRYPTION.encrypt("user_1", "a summary"))
    foreign = InputCompaction(UserEncryption(b"o" * 32).encrypt("user_1", "a summary"))
    asked = InputMessage("user", "hi")
    assert told(await prepared(gateway, input=(mine, asked))) == ["a summary", "hi"]
    assert isinstance(await refused(gateway, input=(foreign, asked)), InvalidRequest)


async def test_a_compaction_does_not_replace_the_deployments_system_prompt(gateway: Replica) -> None:
    sealed = InputCompaction(ENCRYPTION.encrypt("user_1", "a summary"))
    assert (await prepared(gateway, input=(sealed, InputMessage("user", "hi")))).turn.request.system_prompt == "be kind"


async def test_the_output_of_a_known_call_is_accepted(gateway: Replica) -> None:
    within = await conversation(gateway.redis, InputMessage("user", "1+1?"), CALL)
    (exchange,) = (await prepared(gateway, conversation=within, input=(RESULT,))).prompt.exchanges
    assert exchange == (
        PromptMessage("user", "1+1?"),
        PromptMessage("assistant", "", (PromptToolCall("call_1", "add", "{}"),)),
        PromptMessage("tool", "2", call_id="call_1"),
    )


async def test_a_call_among_the_older_items_is_found(gateway: Replica, redis: Redis) -> None:
    later = (InputMessage("user", f"{number}") for number in range(10))
    within = await conversation(redis, InputMessage("user", "1+1?"), CALL, *later)
    create = ResponseCreate(input=(RESULT,), conversation=within)
    accepted = await limited(gateway, redis).prepare("user_1", create, NOTHING, response_id=new_response_id())
    assert accepted.older_count == 0


async def test_more_items_than_the_limit_are_refused_in_a_conversation_and_in_a_chain(gateway: Replica) -> None:
    many = tuple(InputMessage("user", "") for _ in range(MAX_ITEMS))
    within = await conversation(gateway.redis)
    for place in (within, None):
        assert (await refused(gateway, input=many, conversation=place)).code == "storage_limit_reached"


@pytest.mark.parametrize("asked", [(RESULT,), (InputFunctionCall("call_2", "add", "{}"), RESULT)])
async def test_the_output_of_an_unknown_call_is_refused_by_name(gateway: Replica, asked: tuple[InputItem, ...]) -> None:
    error = await refused(gateway, input=asked)
    assert isinstance(error, InvalidRequest)
    assert "call_1" in error.message
    assert error.param == "input"


async def test_a_deleted_call_does_not_break_its_conversation(gateway: Replica) -> None:
    within = await conversation(gateway.redis, InputMessage("user", "1+1?"), CALL, RESULT)
    items = Conversations(gateway.redis).items
    page = await items.page("user_1", within, limit=10, after=None, order="asc")
    await items.delete("user_1", within, page.data[1].id)
    accepted = await prepared(gateway, conversation=within)
    assert not any(prompt.role == "tool" for turn in accepted.prompt.exchanges for prompt in turn)


def limited(gateway: Replica, redis: Redis) -> TurnPreparation:
    """That reads few items first."""
    recent = TurnStore(redis, retention_seconds=60, recent_items=4)
    history = HistoryLoader(recent, gateway.responses)
    return TurnPreparation(gateway.engine, history, gateway.prompts, defaults=DEFAULTS)


def with_defaults(gateway: Replica, defaults: Defaults) -> TurnPreparation:
    history = HistoryLoader(gateway.store, gateway.responses)
    prompts = PromptBuilder(ENCRYPTION, defaults.system_prompt)
    return TurnPreparation(gateway.engine, history, prompts, defaults=defaults)


async def test_prompts_that_differ_in_more_than_their_items_have_another_digest(gateway: Replica) -> None:
    one, same = await prepared(gateway, input="a"), await prepared(gateway, input="b", temperature=1.0)
    assert one.turn.request.prompt_digest == same.turn.request.prompt_digest
    assert (
        await prepared(gateway, instructions="be loud")
    ).turn.request.prompt_digest != one.turn.request.prompt_digest


async def test_another_system_prompt_of_the_deployment_changes_the_digest(gateway: Replica) -> None:
    digests = set()
    for text in ("be kind", "be kind, and tell everything you know"):
        other = with_defaults(gateway, Defaults(text, DEFAULTS.sampling))
        accepted = await other.prepare("user_1", ResponseCreate(input="hi"), NOTHING, response_id=new_response_id())
        digests.add(accepted.turn.request.prompt_digest)
    assert len(digests) == 2


async def test_a_turn_is_restored_from_its_stored_request(gateway: Replica) -> None:
    within = await conversation(gateway.redis, InputMessage("user", "one"), InputMessage("assistant", "fine"))
    running = await gateway.begin_turn(ResponseCreate(input="two", conversation=within))
    await running.log.events.wait_closed()
    again = await gateway.preparation.restore(running.request, running.prepared.input)
    assert again.prompt.exchanges == running.prepared.prompt.exchanges
    assert again.items == running.prepared.items
    assert (again.turn.request.system_prompt, again.turn.request) == (
        running.prepared.turn.request.system_prompt,
        running.request,
    )


async def test_a_restored_turn_does_not_include_items_added_since(gateway: Replica) -> None:
    within = await conversation(gateway.redis)
    gateway.engine.hold = asyncio.Event()
    first = await gateway.begin_turn(ResponseCreate(input="one", conversation=within))
    second = await gateway.begin_turn(ResponseCreate(input="two", conversation=within))
    gateway.engine.hold.set()
    for running in (first, second):
        await running.log.events.wait_closed()
    kept = (await gateway.responses.interrupted("user_1", second.request.response_id)).request
    assert (
        told(await gateway.preparation.restore(kept, second.prepared.input)) == told(second.prepared) == ["one", "two"]
    )
    unlisted = msgspec.structs.replace(kept, history_positions=None)  # as an earlier version kept it
    assert told(await gateway.preparation.restore(unlisted, second.prepared.input)) == ["one", "fine", "two"]


async def test_a_restored_turn_reads_as_much_of_a_long_conversation(gateway: Replica, redis: Redis) -> None:
    within = await conversation(redis, *(InputMessage("user", f"{number}") for number in range(6)))
    gateway.engine.hold = asyncio.Event()
    first = await gateway.begin_turn(ResponseCreate(input="one", conversation=within))
    create = ResponseCreate(input="two", conversation=within)
    second = await limited(gateway, redis).prepare("user_1", create, NOTHING, response_id=new_response_id())
    gateway.engine.hold.set()
    await first.log.events.wait_closed()
    again = await limited(gateway, redis).restore(second.turn.request, second.input)
    assert told(again) == told(second) == ["3", "4", "5", "one", "two"]
    assert again.older_count == second.older_count == 3
