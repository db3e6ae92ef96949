from collections.abc import Sequence

import pytest

from gateway.errors import AnswerInterrupted, EngineFailed
from gateway.inference import OutputDelta, OutputOptions, ReasoningTextDelta, TextDelta, ToolCallDelta
from gateway.protocol.resources import WindowUse
from gateway.protocol.tools import FunctionTool
from gateway.runtime.continuation import Continuation
from gateway.runtime.generation_state import GenerationState
from gateway.turn.log import TurnLog
from gateway.turn.log_entry import LogEntry, token_ids
from gateway.turn.state_machine import Created
from tests.gateway.builders import SAMPLING, turn
from tests.gateway.replica import FakeEngine

PROMPT_IDS = (7, 8, 9)


class ByteEngine(FakeEngine):
    """Its token ids are the bytes of UTF-8."""

    def __init__(self, *, model: str = "parley-demo") -> None:
        super().__init__()
        self.served_model = model
        self.detokenized: list[Sequence[int]] = []

    async def model(self) -> str:
        return self.served_model

    async def detokenize(self, token_ids: Sequence[int], *, affinity: str) -> str:
        self.detokenized.append(token_ids)
        return bytes(token_ids).decode(errors="replace")


class Unlimited(ByteEngine):
    async def context_limit(self) -> int | None:
        return None


class Interrupted:
    """An answer that was interrupted after these deltas; all of them are in its log."""

    def __init__(
        self, *deltas: OutputDelta, engine: FakeEngine | None = None, options: OutputOptions | None = None
    ) -> None:
        self.log = TurnLog(turn(options=options or OutputOptions()), lambda _: None)
        self.entries: list[LogEntry] = []
        self.state = GenerationState(prompt_ids=PROMPT_IDS)
        self.append(*deltas)
        self.continuation = Continuation(engine or ByteEngine(), self.log, self.state, affinity="conv_1")

    def append(self, *deltas: OutputDelta) -> None:
        for step in (Created(), WindowUse(0, None, None), *deltas) if not self.entries else deltas:
            self.log.append(step)
        for delta in deltas:
            self.state.token_ids += delta.token_ids
        self.entries += self.log.drain()

    @property
    def logged_ids(self) -> list[int]:
        return token_ids(entry.fields() for entry in self.entries)


def text(content: str) -> TextDelta:
    return TextDelta(content, tuple(content.encode()))


@pytest.mark.parametrize(
    "deltas", [(), (TextDelta("", (0xE4,)),), (text("a"),), (ReasoningTextDelta("hm", (1,)), text("a"))]
)
def test_an_answer_can_continue_if_nothing_is_shown_or_its_text_is_open(deltas: tuple[OutputDelta, ...]) -> None:
    Interrupted(*deltas).continuation.check_possible()


@pytest.mark.parametrize(
    "deltas",
    [
        (ReasoningTextDelta("hm", (1,)),),
        (ToolCallDelta(0, "{", "add", (1,)),),
        (text("a"), ToolCallDelta(0, "{", "add", (1,))),
        (TextDelta("a"),),
    ],
    ids=["reasoning", "a call", "a call after text", "text without token ids"],
)
def test_an_answer_whose_last_output_is_no_text_with_token_ids_cannot_continue(deltas: tuple[OutputDelta, ...]) -> None:
    with pytest.raises(AnswerInterrupted):
        Interrupted(*deltas).continuation.check_possible()


def test_text_of_a_request_with_tools_cannot_continue() -> None:
    options = OutputOptions(tools=(FunctionTool("add"),))
    with pytest.raises(AnswerInterrupted):
        Interrupted(text("a"), options=options).continuation.check_possible()


@pytest.mark.parametrize("character", ["é", "你", "👋"])
async def test_the_ids_of_an_incomplete_character_are_dropped_and_generated_again(character: str) -> None:
    first, *rest = character.encode()
    for length in range(len(rest)):
        answer = Interrupted(text("ok"), TextDelta("", (first, *rest[:length])))
        await answer.continuation.trim_incomplete_utf8()
        assert answer.state.token_ids == list(b"ok")
        answer.append(text(character))
        assert answer.logged_ids == answer.state.token_ids == list(f"ok{character}".encode())


@pytest.mark.parametrize("content", ["", "ok", "你", "👋", "\ufffd\ufffd"])
async def test_the_ids_of_complete_characters_are_not_dropped(content: str) -> None:
    answer = Interrupted(text(content))
    await answer.continuation.trim_incomplete_utf8()
    assert answer.state.token_ids == list(content.encode())


async def test_only_the_last_ids_of_a_long_answer_are_detokenized() -> None:
    engine = ByteEngine()
    await Interrupted(text("long " * 100), engine=engine).continuation.trim_incomplete_utf8()
    assert [bytes(ids) for ids in engine.detokenized] == [b"ng long "]


async def test_an_answer_may_use_what_is_left_of_the_context_and_of_the_requested_maximum() -> None:
    answer = Interrupted(text("four"), engine=(engine := ByteEngine()))
    wanted = SAMPLING.max_output_tokens
    assert wanted is not None
    assert await answer.continuation.tokens_left() == wanted - len("four")
    engine.context_tokens = 10
    assert await answer.continuation.tokens_left() == 10 - len(PROMPT_IDS) - len("four")
    engine.context_tokens = 5
    left = await answer.continuation.tokens_left()
    assert left is not None
    assert left < 0


async def test_without_a_known_context_only_the_requested_maximum_counts() -> None:
    answer = Interrupted(text("four"), engine=Unlimited())
    assert await answer.continuation.tokens_left() == (SAMPLING.max_output_tokens or 0) - len("four")


async def test_another_model_cannot_continue_the_answer() -> None:
    await Interrupted(text("a")).continuation.check_model()
    with pytest.raises(EngineFailed, match="gpt-9"):
        await Interrupted(text("a"), engine=ByteEngine(model="gpt-9")).continuation.check_model()


def test_the_call_holds_the_ids_of_prompt_and_output_instead_of_messages() -> None:
    call = Interrupted(text("ab")).continuation.call(max_output_tokens=5, request_id="resp_1-2")
    assert (call.prompt, call.token_ids) == ((), (*PROMPT_IDS, *b"ab"))
    assert (call.sampling.max_output_tokens, call.sampling.temperature) == (5, SAMPLING.temperature)
    assert (call.user_id, call.request_id, call.affinity) == ("user_1", "resp_1-2", "conv_1")
