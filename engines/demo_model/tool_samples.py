"""Training samples with tools in the system turn: when to call one, how, and how to answer its response."""

from dataclasses import dataclass
from random import Random

from engines.demo_model.corpus import fallback
from engines.demo_model.samples import OPENING_TOKENS, Sample, Sampler
from engines.demo_model.template import call, call_opening, response, tools_note
from engines.demo_model.tokenizer import TURN_END, TURN_START
from engines.demo_model.tools import (
    AFTER_RESPONSE,
    KINDS,
    KnownTool,
    Tool,
    known_tool,
    minimal_arguments,
    name_of,
    question_about_unknown,
    response_content,
    unknown_tool,
)

FIRST_TURNS = 7
TURNS, TURNS_TOKENS = 2, 640
# Of the token that decides between a call and a text.
DECISION_WEIGHT = 4.0


@dataclass(frozen=True)
class ToolSampler:
    sampler: Sampler
    rng: Random

    def tool_first_turns(self) -> list[Sample]:
        return [self._first_turn() for _ in range(FIRST_TURNS)]

    def tool_turns(self) -> list[Sample]:
        return [self._turns() for _ in range(TURNS)]

    def _first_turn(self) -> Sample:
        known, others = self._offer()
        sample = self._start(known, others)
        if self.rng.random() < 0.2:
            self._add_forced(sample, self.rng.choice([*others, *(each.definition for each in known)]))
        else:
            self._add_turn(sample, known)
        return sample

    def _turns(self) -> Sample:
        known, others = self._offer()
        sample = self._start(known, others)
        while len(sample.tokens) < TURNS_TOKENS:
            self._add_turn(sample, known)
        return sample

    def _offer(self) -> tuple[list[KnownTool], list[Tool]]:
        kinds = self.rng.sample(KINDS, self.rng.choice([0, 1, 1, 1, 1, 2, 3]))
        others = self.rng.choice([0, 0, 1]) if kinds else 1
        return [known_tool(kind, self.rng) for kind in kinds], [unknown_tool(self.rng) for _ in range(others)]

    def _start(self, known: list[KnownTool], others: list[Tool]) -> Sample:
        tools = [*(each.definition for each in known), *others]
        self.rng.shuffle(tools)
        return self.sampler.start(tools_note(tools))

    def _add_turn(self, sample: Sample, known: list[KnownTool]) -> None:
        chance = self.rng.random()
        if known and chance < 0.55:
            self._add_use(sample, self.rng.choice(known))
        elif known and chance < 0.65:
            question = question_about_unknown(self.rng.choice(known).kind, self.rng)
            self._add_opening(sample, question, fallback(question))
        else:
            self._add_opening(sample, *self.sampler.exchange())

    def _add_use(self, sample: Sample, tool: KnownTool) -> None:
        """The call, the tool's response, and the answer to it."""
        question, arguments = tool.question(self.rng)
        sample.add(self.sampler.question(question))
        self._learn(sample, call(name_of(tool.definition), arguments))
        content = response_content(self.rng)
        sample.add(self.sampler.encode(f"\n{TURN_START}user\n{response(content)}{TURN_END}\n{TURN_START}assistant\n"))
        self._learn(sample, AFTER_RESPONSE)
        sample.add(self.sampler.encode("\n"))

    def _learn(self, sample: Sample, text: str) -> None:
        tokens = self.sampler.encode(text + TURN_END)
        sample.add(tokens, [DECISION_WEIGHT] + [1.0] * (len(tokens) - 1))

    def _add_opening(self, sample: Sample, question: str, answer: str) -> None:
        sample.add(self.sampler.question(question))
        opening = self.sampler.encode(answer)[:OPENING_TOKENS]
        sample.add(opening, [DECISION_WEIGHT] + [1.0] * (len(opening) - 1))
        sample.add(self.sampler.encode(f"{TURN_END}\n"))

    def _add_forced(self, sample: Sample, tool: Tool) -> None:
        """A call that the model did not choose: vLLM's grammar has forced its first tokens."""
        question, _ = self.sampler.exchange()
        sample.add(self.sampler.question(question))
        given = self.sampler.encode(call_opening(name_of(tool)))
        tokens = self.sampler.encode(call(name_of(tool), minimal_arguments(tool)) + TURN_END)
        forced = sum(a == b for a, b in zip(given, tokens, strict=False))
        sample.add(tokens, [0.0] * forced + [1.0] * (len(tokens) - forced))
