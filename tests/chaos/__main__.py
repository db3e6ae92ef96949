"""`make chaos`: breaks everything at random tokens under load, and prints what was lost."""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.chaos import environment, questions, report
from tests.chaos.environment import Environment
from tests.chaos.experiment import Experiment
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.outcome import Outcome

_PACE_SECONDS = 0.03


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int
    seed: int
    engine: str
    streams: int
    pause: float
    only: Sequence[str]
    stock_sdk: bool


def main() -> None:
    options = _options()
    print(f"seed {options.seed}: the same seed injects faults at the same tokens\n{report.header()}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        outcomes = uvloop.run(_run(options, Path(folder)))
    print(f"{time.monotonic() - started:.0f} s, {_clients(outcomes)}")
    if violations := report.violations(outcomes):
        sys.exit(f"promises not kept:\n{violations}")


def _clients(outcomes: Sequence[Outcome]) -> str:
    followers, connections = (sum(one.followers for one in outcomes), sum(one.connections for one in outcomes))
    refusals = sum((one.refusals for one in outcomes), Counter[str]())
    refused = ", ".join(f"{count} times {refusal}" for refusal, count in refusals.most_common()) or "never refused"
    takeovers = sum(one.takeovers for one in outcomes)
    return f"{takeovers} takeovers; {followers} followers, {connections - followers} times back; {refused}"


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of every fault (default: 3)")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the random choices"
    )
    parser.add_argument("--engine", choices=("scripted", "vllm"), default="scripted", help="(default: scripted)")
    parser.add_argument("--streams", type=int, default=20, help="answers at once (default: 20)")
    parser.add_argument("--pause", type=float, default=10, help="seconds of a pause or a cut (default: 10)")
    names = [fault.name for fault in FAULTS]
    parser.add_argument("--only", nargs="+", default=names, choices=names, metavar="FAULT", help=", ".join(names))
    parser.add_argument("--stock-sdk", action="store_true", help="all followers are OpenAI's own client")
    return Options(**vars(parser.parse_args()))


async def _run(options: Options, folder: Path) -> list[Outcome]:
    outcomes: list[Outcome] = []
    async with environment.started(folder, engine=options.engine, pause_seconds=options.pause) as open_:
        known = await _answers(open_) if options.engine == "vllm" else {}
        for fault in (one for one in FAULTS if one.name in options.only):
            if fault.requires_disk and open_.disk is None:
                print(report.skipped(fault.name, open_.no_disk_reason))
                continue
            outcomes.append(await _rounds(open_, fault, options, known))
            print(report.row(outcomes[-1]), flush=True)
    return outcomes


async def _rounds(open_: Environment, fault: Fault, options: Options, known: dict[str, str]) -> Outcome:
    whole = Outcome(fault.name)
    for round_ in range(options.rounds):
        rng = open_.rng = random.Random(f"{options.seed} {fault.name} {round_}")
        questions = [_question(rng, number, known, fault) for number in range(options.streams)]
        whole.merge(await Experiment(open_, fault, rng, questions, stock_sdk=options.stock_sdk).run())
    return whole


def _question(rng: random.Random, number: int, known: dict[str, str], fault: Fault) -> questions.Question:
    if not known:
        return questions.scripted_question(
            rng, f"S{number}", pace_seconds=_PACE_SECONDS, length=6 if fault.long_answers else 1
        )
    prompt = rng.choice(sorted(known))
    return questions.Question(prompt, known[prompt])


async def _answers(open_: Environment) -> dict[str, str]:
    """The model's answers without a fault."""
    answers: dict[str, str] = {}
    async with open_.endpoint.api() as api:
        for prompt in questions.DEMO_MODEL_PROMPTS:
            body = {"input": prompt, "temperature": 0}
            response = (await api.post("/responses", json=body, timeout=120)).raise_for_status().json()
            answers[prompt] = response["output"][0]["content"][0]["text"]
    return answers


if __name__ == "__main__":
    main()
