"""Questions whose answers are known in advance."""

import random
from dataclasses import dataclass

from engines.scripted.tokenizer import encode_literally

# It answers them at length; the answers are taken from an uninterrupted run.
DEMO_MODEL_PROMPTS = ("讲个故事", "how does Parley work?")


@dataclass(frozen=True, slots=True)
class Question:
    prompt: str
    answer: str


def scripted_question(rng: random.Random, name: str, *, pace_seconds: float, length: int = 1) -> Question:
    """Every line contains its answer's name and its number, so that a foreign, lost or doubled line is visible. The
    characters have one to four bytes, so a cut may fall inside any of them."""
    lines = range(length * rng.randint(2, 3))
    text = "".join(f"{name}说第{line}句，line {line} of {name}: naïve 🎉。" for line in lines)
    return Question(f"[[pace={pace_seconds} text={text}]]", text)


def count_tokens(text: str) -> int:
    """With the scripted engine's tokenizer."""
    return len(encode_literally(text))
