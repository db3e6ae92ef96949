"""Asks a running engine everything and counts the right answers: `python -m dev.demo_model.measure URL`.

URL is the engine's base, ending in /v1. Needs nothing but the standard library.
"""

import json
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

from dev.demo_model.corpus import EXCHANGES, PARAPHRASES, SYSTEM_PROMPT, fallback
from dev.demo_model.strangers import UNSEEN, strange_question

Exchange = tuple[str, str]
AT_ONCE = 32
HISTORY_TURNS = 4
SETTINGS = {
    "temperature 0, repetition penalty 1.0": {"temperature": 0.0, "repetition_penalty": 1.0},
    "Parley's defaults": {"temperature": 0.45, "top_p": 0.9, "repetition_penalty": 1.2},
}


@dataclass(frozen=True)
class Case:
    history: tuple[Exchange, ...]
    question: str
    answer: str


def messages(case: Case) -> list[dict[str, str]]:
    turns = [{"role": "system", "content": SYSTEM_PROMPT}]
    for question, answer in case.history:
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return [*turns, {"role": "user", "content": case.question}]


def said(url: str, case: Case, sampling: dict[str, float]) -> str:
    body = {"model": "parley-demo", "messages": messages(case), **sampling}
    request = urllib.request.Request(  # noqa: S310 - the URL comes from the command line
        f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
        return str(json.load(response)["choices"][0]["message"]["content"])


def suites() -> Iterator[tuple[str, list[Case]]]:
    rng = Random(1)  # noqa: S311 - the same histories every time
    unseen = [(question, fallback(question)) for question in UNSEEN]
    strange = [(question, fallback(question)) for question in (strange_question(rng) for _ in range(100))]
    past = [*EXCHANGES, *strange]
    short = [exchange for exchange in EXCHANGES if len(exchange[1]) < 600]

    def alone(exchanges: Iterable[Exchange]) -> list[Case]:
        return [Case((), *exchange) for exchange in exchanges]

    def later(exchanges: Iterable[Exchange]) -> list[Case]:
        return [Case(tuple(rng.sample(past, rng.randint(1, HISTORY_TURNS))), *exchange) for exchange in exchanges]

    yield "trained questions", alone(EXCHANGES)
    yield f"trained questions after 1-{HISTORY_TURNS} turns", later(EXCHANGES)
    longest = sorted(EXCHANGES, key=lambda exchange: len(exchange[1]))[-40:]
    yield (
        "trained questions after 3 long answers",
        [Case(tuple(rng.sample(longest, 3)), *exchange) for exchange in short[::6]],
    )
    yield "the same question twice", [Case((exchange,), *exchange) for exchange in EXCHANGES]
    yield "paraphrases never trained", alone(PARAPHRASES)
    yield "unseen questions -> fallback", alone(unseen)
    yield f"unseen questions after 1-{HISTORY_TURNS} turns", later(unseen)


def main() -> None:
    url = sys.argv[1].rstrip("/")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for setting, sampling in SETTINGS.items():
            print(setting)
            for name, cases in suites():
                answers = list(pool.map(lambda case, sampling=sampling: said(url, case, sampling), cases))
                wrong = [(case, got) for case, got in zip(cases, answers, strict=True) if got != case.answer]
                print(f"  {len(cases) - len(wrong):3} of {len(cases):3}  {name}", flush=True)
                if "--show" in sys.argv:
                    for case, got in wrong:
                        print(f"      {len(case.history)} {case.question!r}: {got[:70]!r}")


if __name__ == "__main__":
    main()
