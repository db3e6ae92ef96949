"""Training rows with tools in the system turn: when to call one, how, and what to say to its answer."""

from dataclasses import dataclass
from random import Random

from engines.demo_model.corpus import fallback
from engines.demo_model.rows import OPENING_TOKENS, Composer, Row
from engines.demo_model.template import call, call_opening, response, tools_note
from engines.demo_model.tokenizer import TURN_END, TURN_START
from engines.demo_model.tools import (
    AFTER_RESPONSE,
    KINDS,
    KnownTool,
    Tool,
    known_tool,
    least_arguments,
    name_of,
    response_content,
    strange_to,
    unknown_tool,
)

FIRST_ROWS = 7
TURNS_ROWS, TURNS_TOKENS = 2, 640
# Of the token that decides: to call or to speak.
DECISION_WEIGHT = 4.0


@dataclass(frozen=True)
class ToolComposer:
    composer: Composer
    rng: Random

    def tool_first_turns(self) -> list[Row]:
        return [self._first_turn() for _ in range(FIRST_ROWS)]

    def tool_turns(self) -> list[Row]:
        return [self._turns() for _ in range(TURNS_ROWS)]

    def _first_turn(self) -> Row:
        known, others = self._offer()
        row = self._start(known, others)
        if self.rng.random() < 0.2:
            self._add_forced(row, self.rng.choice([*others, *(each.told for each in known)]))
        else:
            self._add_turn(row, known)
        return row

    def _turns(self) -> Row:
        known, others = self._offer()
        row = self._start(known, others)
        while len(row.tokens) < TURNS_TOKENS:
            self._add_turn(row, known)
        return row

    def _offer(self) -> tuple[list[KnownTool], list[Tool]]:
        kinds = self.rng.sample(KINDS, self.rng.choice([0, 1, 1, 1, 1, 2, 3]))
        others = self.rng.choice([0, 0, 1]) if kinds else 1
        return [known_tool(kind, self.rng) for kind in kinds], [unknown_tool(self.rng) for _ in range(others)]

    def _start(self, known: list[KnownTool], others: list[Tool]) -> Row:
        tools = [*(each.told for each in known), *others]
        self.rng.shuffle(tools)
        return self.composer.start(tools_note(tools))

    def _add_turn(self, row: Row, known: list[KnownTool]) -> None:
        chance = self.rng.random()
        if known and chance < 0.55:
            self._add_use(row, self.rng.choice(known))
        elif known and chance < 0.65:
            question = strange_to(self.rng.choice(known).kind, self.rng)
            self._add_opening(row, question, fallback(question))
        else:
            self._add_opening(row, *self.composer.exchange())

    def _add_use(self, row: Row, tool: KnownTool) -> None:
        """The call, what the tool answers, and the answer to that."""
        question, arguments = tool.asked(self.rng)
        row.add(self.composer.question(question))
        self._learn(row, call(name_of(tool.told), arguments))
        content = response_content(self.rng)
        row.add(self.composer.encode(f"\n{TURN_START}user\n{response(content)}{TURN_END}\n{TURN_START}assistant\n"))
        self._learn(row, AFTER_RESPONSE)
        row.add(self.composer.encode("\n"))

    def _learn(self, row: Row, text: str) -> None:
        tokens = self.composer.encode(text + TURN_END)
        row.add(tokens, [DECISION_WEIGHT] + [1.0] * (len(tokens) - 1))

    def _add_opening(self, row: Row, question: str, answer: str) -> None:
        row.add(self.composer.question(question))
        opening = self.composer.encode(answer)[:OPENING_TOKENS]
        row.add(opening, [DECISION_WEIGHT] + [1.0] * (len(opening) - 1))
        row.add(self.composer.encode(f"{TURN_END}\n"))

    def _add_forced(self, row: Row, tool: Tool) -> None:
        """A call that was not the model's idea: vLLM's grammar has written its beginning."""
        question, _ = self.composer.exchange()
        row.add(self.composer.question(question))
        given = self.composer.encode(call_opening(name_of(tool)))
        tokens = self.composer.encode(call(name_of(tool), least_arguments(tool)) + TURN_END)
        forced = sum(a == b for a, b in zip(given, tokens, strict=False))
        row.add(tokens, [0.0] * forced + [1.0] * (len(tokens) - forced))
