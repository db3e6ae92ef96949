"""Training samples: synthetic conversations as tokens, each with its loss weight.

The model learns two things. *Which* answer belongs to a question is hard and needs many examples, of which only the
first tokens of the answer matter: first turns, because they are the most frequent; later turns; and some after a long
history, which hides the question unless trained. *How* an answer continues is easy and needs each answer whole, but
few times.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from engines.demo_model.corpus import SYSTEM_PROMPT, TITLE_PROMPT, TOPICS, fallback, first_exchange, title_of
from engines.demo_model.tokenizer import TURN_END, TURN_START
from engines.demo_model.tools import KINDS, question_about
from engines.demo_model.unknown_questions import unknown_question
from engines.demo_model.variation import random_question, varied

FIRST_TURNS = 24  # samples in a batch of first turns
LATER_TURNS, LATER_TURNS_TOKENS = 3, 512
WHOLE_ANSWERS_TOKENS = 640
LONG_HISTORY_TOKENS = range(800, 3000)
OPENING_TOKENS = 6
TITLES = 8  # samples in a batch of titles
TITLED_CHARACTERS = [40, 200, 600, 600]  # of the answer; one is chosen for each sample
WITHOUT_TOOLS = 0.03  # share of questions that a tool would answer if one were offered
Exchange = tuple[str, str]
_LONG_TOPICS = sorted(TOPICS, key=lambda topic: len(topic.answer.encode()))[-3:]
_SYSTEM_PROMPTS = [
    "You are a helpful assistant.",
    "你是一个有用的助手。",
    "You are a helpful, concise assistant.",
    "你是一个友好的聊天机器人，请用中文回答。",
]


@dataclass
class Sample:
    tokens: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)  # 0: context, not predicted

    def add(self, tokens: list[int], weights: list[float] | None = None) -> None:
        self.tokens += tokens
        self.weights += weights or [0.0] * len(tokens)


@dataclass(frozen=True)
class Sampler:
    encode: Callable[[str], list[int]]
    rng: Random

    def first_turns(self) -> list[Sample]:
        return [self._first_turn() for _ in range(FIRST_TURNS)]

    def later_turns(self) -> list[Sample]:
        return [self._filled(self.start(), LATER_TURNS_TOKENS, self._add_opening) for _ in range(LATER_TURNS)]

    def after_long_history(self) -> list[Sample]:
        sample = self._filled(self.start(), self.rng.choice(LONG_HISTORY_TOKENS), self._add_history)
        return [self._filled(sample, len(sample.tokens) + LATER_TURNS_TOKENS, self._add_opening)]

    def whole_answers(self) -> list[Sample]:
        return [self._filled(self.start(), WHOLE_ANSWERS_TOKENS, self._add_answer)]

    def titles(self) -> list[Sample]:
        return [self._title() for _ in range(TITLES)]

    def _title(self) -> Sample:
        """An empty title for a question without an answer of its own: the gateway then uses the question's words."""
        sample = self._started(TITLE_PROMPT)
        question, answer, title = varied(unknown_question(self.rng), self.rng), "", ""
        if self.rng.random() < 0.2:
            answer = fallback(question)
        else:
            topic = self.rng.choice(TOPICS)
            question = random_question(topic, self.rng)
            answer, title = topic.answer, title_of(topic, question)
        sample.add(self.question(first_exchange(question, answer[: self.rng.choice(TITLED_CHARACTERS)])))
        tokens = self._answer(title)
        sample.add(tokens, [1.0] * len(tokens))
        return sample

    def _first_turn(self) -> Sample:
        sample = self.start()
        question, answer = self._exchange_without_tools()
        sample.add(self.question(question))
        opening = self._answer(answer)[:OPENING_TOKENS]
        sample.add(opening, [1.0] * len(opening))
        return sample

    def _filled(self, sample: Sample, length: int, add_turn: Callable[[Sample], None]) -> Sample:
        """The last turn may exceed the length: dropping it would train long answers more rarely."""
        while len(sample.tokens) < length:
            add_turn(sample)
        return sample

    def _add_opening(self, sample: Sample) -> None:
        """A turn whose answer was stopped early, mostly very early, so that many fit into a sample."""
        question, answer = self._exchange_without_tools()
        sample.add(self.question(question))
        kept = self.encode(answer)[: self.rng.choice([OPENING_TOKENS] * 3 + [24])]
        learned = min(OPENING_TOKENS, len(kept))
        sample.add(kept, [1.0] * learned + [0.0] * (len(kept) - learned))
        sample.add(self.encode(f"{TURN_END}\n"))

    def _add_history(self, sample: Sample) -> None:
        topic = self.rng.choice(_LONG_TOPICS if self.rng.random() < 0.5 else TOPICS)
        sample.add(self.question(random_question(topic, self.rng)))
        sample.add(self._answer(topic.answer))
        sample.add(self.encode("\n"))

    def _add_answer(self, sample: Sample) -> None:
        question, answer = self.exchange(unknown_share=0.15)
        sample.add(self.question(question))
        tokens = self._answer(answer)
        sample.add(tokens, [4.0] * 3 + [1.0] * (len(tokens) - 3))
        sample.add(self.encode("\n"))

    def start(self, note: str = "") -> Sample:
        """`note` follows the system prompt."""
        return self._started(self._system_prompt() + note)

    def _started(self, system: str) -> Sample:
        sample = Sample()
        sample.add(self.encode(f"{TURN_START}system\n{system}{TURN_END}\n"))
        return sample

    def _system_prompt(self) -> str:
        kind = self.rng.random()
        if kind < 0.6:
            return SYSTEM_PROMPT
        return self.rng.choice(_SYSTEM_PROMPTS) if kind < 0.9 else unknown_question(self.rng)

    def exchange(self, unknown_share: float = 0.3) -> Exchange:
        if self.rng.random() < unknown_share:
            question = varied(unknown_question(self.rng), self.rng)
            return question, fallback(question)
        topic = self.rng.choice(TOPICS)
        return random_question(topic, self.rng), topic.answer

    def _exchange_without_tools(self) -> Exchange:
        if self.rng.random() < WITHOUT_TOOLS:
            question, _ = question_about(self.rng.choice(KINDS), self.rng)
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
        """Sometimes split at random: the same letters as different tokens, so that no single token decides."""
        if self.rng.random() < 0.75 or len(text) < 3:
            return [text]
        cuts = sorted({0, len(text), *(self.rng.randrange(1, len(text)) for _ in range(self.rng.randint(1, 3)))})
        return [text[start:end] for start, end in itertools.pairwise(cuts)]
