"""Questions with answers that are known beforehand."""

import random
from dataclasses import dataclass

from engines.scripted.tokenizer import encode_literally

# What it answers at length; only an uninterrupted run can tell what.
OF_THE_DEMO_MODEL = ("讲个故事", "how does Parley work?")


@dataclass(frozen=True, slots=True)
class Question:
    prompt: str
    answer: str


def scripted(rng: random.Random, name: str, *, pace_seconds: float, longer: int = 1) -> Question:
    """Every line tells whose it is and its number: a foreign, lost or doubled one shows. The characters are of one to
    four bytes, so a cut may fall inside any of them."""
    lines = range(longer * rng.randint(2, 3))
    text = "".join(f"{name}说第{line}句，line {line} of {name}: naïve 🎉。" for line in lines)
    return Question(f"[[pace={pace_seconds} text={text}]]", text)


def tokens(text: str) -> int:
    """So many the scripted engine makes of it."""
    return len(encode_literally(text))
