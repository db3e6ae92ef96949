"""Golden event sequences of the wire, as the real `Turn` renders them. The page's tests read the same files.

`python -m tests.contract.golden` rewrites them; review the difference before you commit it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from gateway.errors import (
    ConnectionLimitReached,
    EngineFailed,
    EventsExpired,
    ParleyError,
    TooManyRequests,
    Unavailable,
)
from gateway.inference import OutputOptions, ReasoningTextDelta, Sampling, TextDelta, ToolCallDelta
from gateway.protocol.events import frame, socket_error
from gateway.protocol.resources import InputTokensDetails, OutputTokensDetails, Usage, WindowUse
from gateway.protocol.tools import FunctionTool
from gateway.turn.state_machine import Completed, Created, Failed, Incomplete, Step, Turn
from gateway.turn.turn_request import TurnRequest

FOLDER: Final = Path(__file__).parent / "golden"

_STARTED: Final = 1_764_000_000
_ENDED: Final = _STARTED + 2
_CONTEXT: Final = 4096
_WEATHER: Final = FunctionTool(
    "get_weather",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    description="The weather of a city",
)

# The random part of an id: all of a response's, a conversation's or a call's; of an item's, what follows its position.
_RANDOM: Final = re.compile(r"(?<=_)(?:(?P<position>[0-9a-f]{8})(?P<item>[0-9a-f]{24})|(?P<call>[0-9a-f]{24}))(?=\")")


def _turn(*, options: OutputOptions | None = None, generate: bool = True, max_output_tokens: int | None = None) -> Turn:
    sampling = Sampling(temperature=0.45, top_p=0.9, repetition_penalty=1.2, max_output_tokens=10_240)
    return Turn(
        TurnRequest(
            response_id="resp_" + "1".zfill(32),
            user_id="user_1",
            model="parley-demo",
            sampling=sampling,
            options=options or OutputOptions(),
            created_at=_STARTED,
            first_position=2,
            thread_id="conv_" + "1".zfill(32),
            conversation_id="conv_" + "1".zfill(32),
            metadata={"client_message_id": "5f0c1d2e-3b4a-4c5d-8e6f-708192a3b4c5"},
            truncation="auto",
            generate=generate,
            max_output_tokens=max_output_tokens,
        )
    )


def _usage(output: int, *, input_tokens: int = 27, reasoning: int = 0) -> Usage:
    return Usage(
        input_tokens,
        output,
        input_tokens + output,
        InputTokensDetails(cached_tokens=16),
        OutputTokensDetails(reasoning_tokens=reasoning),
    )


def _events(turn: Turn, *steps: Step, window: WindowUse | None = None) -> Iterator[str]:
    for step in (Created(), window or WindowUse(0, 27, _CONTEXT), *steps):
        for event in turn.step(step):
            yield frame(event)


def _refused(error: ParleyError) -> list[str]:
    return [frame(socket_error(error))]


def _text() -> Iterator[str]:
    return _events(
        _turn(), TextDelta("你好"), TextDelta("！很高兴"), TextDelta("见到你。"), Completed(_usage(8), _ENDED)
    )


def _length() -> Iterator[str]:
    turn = _turn(max_output_tokens=3)
    return _events(turn, TextDelta("One, two"), TextDelta(", three"), Incomplete("max_output_tokens", _usage(3)))


def _stopped() -> Iterator[str]:
    return _events(
        _turn(), TextDelta("Once upon"), TextDelta(" a time"), Incomplete("cancelled", _usage(4), stopped_in_ms=12)
    )


def _failed_at_once() -> Iterator[str]:
    return _events(_turn(), Failed(Unavailable("vllm")))


def _failed_in_the_middle() -> Iterator[str]:
    return _events(
        _turn(), TextDelta("The answer is"), Failed(EngineFailed("the stream ended without a finish reason"))
    )


def _function_call() -> Iterator[str]:
    turn = _turn(options=OutputOptions(tools=(_WEATHER,)))
    pieces = [ToolCallDelta(0, "", "get_weather"), ToolCallDelta(0, '{"city":'), ToolCallDelta(0, ' "北京"}')]
    return _events(turn, TextDelta("Let me look."), *pieces, Completed(_usage(21), _ENDED))


def _reasoning() -> Iterator[str]:
    thoughts = [ReasoningTextDelta("The user greets me."), ReasoningTextDelta(" I greet back.")]
    return _events(
        _turn(), *thoughts, TextDelta("\n\nHel"), TextDelta("lo!"), Completed(_usage(12, reasoning=9), _ENDED)
    )


def _warm_up() -> Iterator[str]:
    return _events(_turn(generate=False), Completed(_usage(1), _ENDED))


def _left_out() -> Iterator[str]:
    usage = _usage(3, input_tokens=3790)
    return _events(
        _turn(), TextDelta("Yes, "), TextDelta("still."), Completed(usage, _ENDED), window=WindowUse(6, 3790, 4096)
    )


STORIES: Final[dict[str, Callable[[], Iterable[str]]]] = {
    "text": _text,
    "length": _length,
    "stopped": _stopped,
    "failed-at-once": _failed_at_once,
    "failed-in-the-middle": _failed_in_the_middle,
    "function-call": _function_call,
    "reasoning": _reasoning,
    "warm-up": _warm_up,
    "left-out": _left_out,
    "refused": lambda: _refused(TooManyRequests("8 requests are already queued on this socket")),
    "resumed-too-late": lambda: _refused(EventsExpired()),
    "connection-limit": lambda: _refused(ConnectionLimitReached(3600)),
}


def story(name: str) -> str:
    """One frame per line."""
    return _normalised("".join(f"{line}\n" for line in STORIES[name]()))


def golden(name: str) -> str:
    return (FOLDER / f"{name}.jsonl").read_text()


def _normalised(frames: str) -> str:
    """Replaces the random parts of ids by numbers in order of appearance; an item's position stays."""
    known: dict[str, int] = {}

    def renamed(found: re.Match[str]) -> str:
        random = found["item"] or found["call"]
        return (found["position"] or "") + f"{known.setdefault(random, len(known) + 1):024x}"

    return _RANDOM.sub(renamed, frames)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in STORIES:
        (FOLDER / f"{name}.jsonl").write_text(story(name))


if __name__ == "__main__":
    main()
