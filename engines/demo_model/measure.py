"""Sends every test case to a running engine and counts correct answers: `python -m engines.demo_model.measure URL`.

URL is the engine's base URL, ending in /v1. Needs only the standard library.
"""

import json
import sys
import urllib.request
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random

from engines.demo_model.cases import Case, Exchange, after, calls, follow_ups, titles, with_tools
from engines.demo_model.corpus import EXCHANGES, PARAPHRASES, fallback
from engines.demo_model.unknown_questions import UNSEEN, unknown_question

AT_ONCE = 32
HISTORY_TURNS = 4
SETTINGS = {
    "temperature 0, repetition penalty 1.0": {"temperature": 0.0, "repetition_penalty": 1.0},
    "Parley's defaults": {"temperature": 0.45, "top_p": 0.9, "repetition_penalty": 1.2},
}


def ask(url: str, case: Case, sampling: dict[str, float]) -> str:
    body = {"model": "parley-demo", "messages": case.messages, **sampling, "max_tokens": 2000}
    if case.tools:
        body["tools"] = case.tools
    request = urllib.request.Request(  # noqa: S310 - the URL comes from the command line
        f"{url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310
        message = json.load(response)["choices"][0]["message"]
    calls = [call["function"] for call in message.get("tool_calls", ())]
    return " ".join(f"{one['name']} {one['arguments']}" for one in calls) or str(message["content"])


def suites() -> Iterator[tuple[str, list[Case]]]:
    rng = Random(1)  # noqa: S311 - the same histories every time
    unseen = [(question, fallback(question)) for question in UNSEEN]
    unknown = [(question, fallback(question)) for question in (unknown_question(rng) for _ in range(100))]
    past = [*EXCHANGES, *unknown]
    short = [exchange for exchange in EXCHANGES if len(exchange[1]) < 600]

    def first_turns(exchanges: Iterable[Exchange]) -> list[Case]:
        return [after((), *exchange) for exchange in exchanges]

    def later_turns(exchanges: Iterable[Exchange]) -> list[Case]:
        return [after(rng.sample(past, rng.randint(1, HISTORY_TURNS)), *exchange) for exchange in exchanges]

    yield "trained questions", first_turns(EXCHANGES)
    yield f"trained questions after 1-{HISTORY_TURNS} turns", later_turns(EXCHANGES)
    longest = sorted(EXCHANGES, key=lambda exchange: len(exchange[1]))[-40:]
    yield (
        "trained questions after 3 long answers",
        [after(rng.sample(longest, 3), *exchange) for exchange in short[::6]],
    )
    yield "the same question twice", [after([exchange], *exchange) for exchange in EXCHANGES]
    yield "paraphrases never trained", first_turns(PARAPHRASES)
    yield "unseen questions -> fallback", first_turns(unseen)
    yield f"unseen questions after 1-{HISTORY_TURNS} turns", later_turns(unseen)
    yield "titles of trained questions", titles()
    yield from calls(rng)
    yield from follow_ups(rng)
    yield "trained questions while tools are offered", [with_tools(rng, *exchange) for exchange in EXCHANGES]
    yield "unseen questions while tools are offered", [with_tools(rng, *exchange) for exchange in unseen]


def main() -> None:
    url = sys.argv[1].rstrip("/")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for setting, sampling in SETTINGS.items():
            print(setting)
            for name, cases in suites():
                answers = list(pool.map(lambda case, sampling=sampling: ask(url, case, sampling), cases))
                wrong = [(case, got) for case, got in zip(cases, answers, strict=True) if got != case.answer]
                print(f"  {len(cases) - len(wrong):3} of {len(cases):3}  {name}", flush=True)
                if "--show" in sys.argv:
                    for case, got in wrong:
                        print(f"      {len(case.messages)} {case.messages[-1]['content'][-60:]!r}: {got[-90:]!r}")


if __name__ == "__main__":
    main()
