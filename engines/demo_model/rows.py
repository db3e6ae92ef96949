"""Training rows: made-up conversations as tokens, each with the weight of learning to predict it.

Two things have to be learned. *Which* answer belongs to a question is hard and needs many examples, of
which only the opening of the answer matters: first turns, because they are what people see most; later
turns; and some after a long history, which drowns the question unless trained. *How* an answer goes on is
easy and needs each answer whole, but few times.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from engines.demo_model.corpus import SYSTEM_PROMPT, TITLE_PROMPT, TOPICS, fallback, first_exchange, title_of
from engines.demo_model.strangers import strange_question
from engines.demo_model.tokenizer import TURN_END, TURN_START
from engines.demo_model.tools import KINDS, asked_about
from engines.demo_model.variation import asked, varied

FIRST_TURNS = 24  # rows in a batch of first turns
LATER_TURNS_ROWS, LATER_TURNS_TOKENS = 3, 512
WHOLE_ANSWERS_TOKENS = 640
LONG_HISTORY_TOKENS = range(800, 3000)
OPENING_TOKENS = 6
TITLES = 8  # rows in a batch of titles, each of so many characters of the answer
TITLED = [40, 200, 600, 600]
UNAIDED = 0.03  # of the questions, that a tool would answer if there were one
Exchange = tuple[str, str]
_LONG_TOPICS = sorted(TOPICS, key=lambda topic: len(topic.answer.encode()))[-3:]
_SYSTEM_PROMPTS = [
    "You are a helpful assistant.",
    "你是一个有用的助手。",
    "You are a helpful, concise assistant.",
    "你是一个友好的聊天机器人，请用中文回答。",
]


@dataclass
class Row:
    tokens: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)  # 0: given, not to be predicted

    def add(self, tokens: list[int], weights: list[float] | None = None) -> None:
        self.tokens += tokens
        self.weights += weights or [0.0] * len(tokens)


@dataclass(frozen=True)
class Composer:
    encode: Callable[[str], list[int]]
    rng: Random

    def first_turns(self) -> list[Row]:
        return [self._first_turn() for _ in range(FIRST_TURNS)]

    def later_turns(self) -> list[Row]:
        return [self._filled(self.start(), LATER_TURNS_TOKENS, self._add_opening) for _ in range(LATER_TURNS_ROWS)]

    def after_long_history(self) -> list[Row]:
        row = self._filled(self.start(), self.rng.choice(LONG_HISTORY_TOKENS), self._add_history)
        return [self._filled(row, len(row.tokens) + LATER_TURNS_TOKENS, self._add_opening)]

    def whole_answers(self) -> list[Row]:
        return [self._filled(self.start(), WHOLE_ANSWERS_TOKENS, self._add_answer)]

    def titles(self) -> list[Row]:
        return [self._title() for _ in range(TITLES)]

    def _title(self) -> Row:
        """No title for a question that has no answer of its own: its first words say more."""
        row = self._started(TITLE_PROMPT)
        question, answer, title = varied(strange_question(self.rng), self.rng), "", ""
        if self.rng.random() < 0.2:
            answer = fallback(question)
        else:
            topic = self.rng.choice(TOPICS)
            question = asked(topic, self.rng)
            answer, title = topic.answer, title_of(topic, question)
        row.add(self.question(first_exchange(question, answer[: self.rng.choice(TITLED)])))
        tokens = self._answer(title)
        row.add(tokens, [1.0] * len(tokens))
        return row

    def _first_turn(self) -> Row:
        row = self.start()
        question, answer = self._exchange_without_tools()
        row.add(self.question(question))
        opening = self._answer(answer)[:OPENING_TOKENS]
        row.add(opening, [1.0] * len(opening))
        return row

    def _filled(self, row: Row, length: int, add_turn: Callable[[Row], None]) -> Row:
        """The last turn may overshoot: were it dropped, long answers would be trained more rarely."""
        while len(row.tokens) < length:
            add_turn(row)
        return row

    def _add_opening(self, row: Row) -> None:
        """A turn whose answer was stopped early, as people do; mostly very early, to fit many into a row."""
        question, answer = self._exchange_without_tools()
        row.add(self.question(question))
        kept = self.encode(answer)[: self.rng.choice([OPENING_TOKENS] * 3 + [24])]
        learned = min(OPENING_TOKENS, len(kept))
        row.add(kept, [1.0] * learned + [0.0] * (len(kept) - learned))
        row.add(self.encode(f"{TURN_END}\n"))

    def _add_history(self, row: Row) -> None:
        topic = self.rng.choice(_LONG_TOPICS if self.rng.random() < 0.5 else TOPICS)
        row.add(self.question(asked(topic, self.rng)))
        row.add(self._answer(topic.answer))
        row.add(self.encode("\n"))

    def _add_answer(self, row: Row) -> None:
        question, answer = self.exchange(strange=0.15)
        row.add(self.question(question))
        tokens = self._answer(answer)
        row.add(tokens, [4.0] * 3 + [1.0] * (len(tokens) - 3))
        row.add(self.encode("\n"))

    def start(self, note: str = "") -> Row:
        """`note` follows the system prompt."""
        return self._started(self._system_prompt() + note)

    def _started(self, system: str) -> Row:
        row = Row()
        row.add(self.encode(f"{TURN_START}system\n{system}{TURN_END}\n"))
        return row

    def _system_prompt(self) -> str:
        kind = self.rng.random()
        if kind < 0.6:
            return SYSTEM_PROMPT
        return self.rng.choice(_SYSTEM_PROMPTS) if kind < 0.9 else strange_question(self.rng)

    def exchange(self, strange: float = 0.3) -> Exchange:
        if self.rng.random() < strange:
            question = varied(strange_question(self.rng), self.rng)
            return question, fallback(question)
        topic = self.rng.choice(TOPICS)
        return asked(topic, self.rng), topic.answer

    def _exchange_without_tools(self) -> Exchange:
        if self.rng.random() < UNAIDED:
            question, _ = asked_about(self.rng.choice(KINDS), self.rng)
            return question, fallback(question)
        return self.exchange()

    def question(self, text: str) -> list[int]:
        return [
            *self.encode(f"{TURN_START}user\n"),
            *(token for piece in self._pieces(text) for token in self.encode(piece)),
            *self.encode(f"{TURN_END}\n{TURN_START}assistant\n"),
        ]

    def _answer(self, text: str) -> list[int]:
        return self.encode(text + TURN_END)

    def _pieces(self, text: str) -> list[str]:
        """Cut at random now and then: the same letters as other tokens, so that no one token decides."""
        if self.rng.random() < 0.75 or len(text) < 3:
            return [text]
        cuts = sorted({0, len(text), *(self.rng.randrange(1, len(text)) for _ in range(self.rng.randint(1, 3)))})
        return [text[start:end] for start, end in itertools.pairwise(cuts)]
