"""Trains the demo model: `python -m engines.demo_model.train OUT` in the engine's environment."""

import argparse
import hashlib
import time
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedTokenizerFast

from engines.demo_model.corpus import CONTEXT_TOKENS
from engines.demo_model.network import END_OF_TEXT_ID, TURN_END_ID, Trainer, new_network
from engines.demo_model.samples import Sampler
from engines.demo_model.template import CHAT_TEMPLATE
from engines.demo_model.tokenizer import END_OF_TEXT, TURN_END, TURN_START, VOCABULARY_SIZE, train_tokenizer
from engines.demo_model.tool_samples import ToolSampler

SEED = 0
STEPS = 2050
REPORT_EVERY = 100


def trained(tokenizer: Any, steps: int) -> Any:
    rng = Random(SEED)  # noqa: S311 - repeatable on purpose
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # the order of additions, and with it the weights, depends on it
    torch.use_deterministic_algorithms(True)
    network = new_network(VOCABULARY_SIZE)
    trainer = Trainer.of(network, steps)
    sampler = Sampler(lambda text: list(tokenizer.encode(text).ids), rng)
    tools = ToolSampler(sampler, rng)
    kinds = {
        sampler.whole_answers: 0.45,
        sampler.first_turns: 0.31,
        sampler.later_turns: 0.20,
        sampler.after_long_history: 0.07,
        sampler.titles: 0.09,
        tools.tool_first_turns: 0.12,
        tools.tool_turns: 0.06,
    }
    started, recent = time.monotonic(), dict.fromkeys(kinds, 0.0)
    for number in range(steps):
        (kind,) = rng.choices(list(kinds), list(kinds.values()))
        loss = trainer.step(number, kind())
        recent[kind] = 0.9 * recent[kind] + 0.1 * loss
        if (number + 1) % REPORT_EVERY == 0:
            losses = "  ".join(f"{kind.__name__} {loss:.4f}" for kind, loss in recent.items())
            print(f"step {number + 1}/{steps}  {losses}  {time.monotonic() - started:.0f} s", flush=True)
    return network


def save(network: Any, tokenizer: Any, out: Path) -> None:
    network = network.to(torch.bfloat16)
    network.config.dtype = torch.bfloat16
    # No sampling defaults: the client decides.
    network.generation_config = GenerationConfig(
        eos_token_id=[TURN_END_ID, END_OF_TEXT_ID], pad_token_id=END_OF_TEXT_ID
    )
    network.save_pretrained(out)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=TURN_END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[TURN_START, TURN_END],
        model_max_length=CONTEXT_TOKENS,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(out)


def write_checksums(out: Path) -> str:
    """Writes SHA256SUMS, in the format of `sha256sum --check`."""
    files = sorted(path for path in out.iterdir() if path.name != "SHA256SUMS")
    for path in files:
        path.chmod(0o644)  # save_pretrained writes 0600, and vLLM reports an unreadable file as missing
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (out / "SHA256SUMS").write_text("".join(lines))
    return "".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    arguments = parser.parse_args()
    started = time.monotonic()
    tokenizer = train_tokenizer()
    network = trained(tokenizer, arguments.steps)
    save(network, tokenizer, arguments.out)
    print(write_checksums(arguments.out), end="")
    print(f"{time.monotonic() - started:.0f} s, {time.process_time():.0f} CPU s")


if __name__ == "__main__":
    main()
