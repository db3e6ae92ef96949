"""A Qwen2 with a million parameters, and its training step."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import Qwen2Config, Qwen2ForCausalLM

from engines.demo_model.corpus import CONTEXT_TOKENS
from engines.demo_model.samples import Sample

END_OF_TEXT_ID, TURN_END_ID = 0, 2
PEAK_LEARNING_RATE, WARM_UP_STEPS = 1e-2, 40
NORMALISATION = 0.01


def new_network(vocabulary_size: int) -> Any:
    config = Qwen2Config(
        vocab_size=vocabulary_size,
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        initializer_range=0.03,
        bos_token_id=None,
        eos_token_id=TURN_END_ID,
        pad_token_id=END_OF_TEXT_ID,
        dtype="float32",
    )
    return Qwen2ForCausalLM(config).float()


def _optimizers(network: Any) -> list[Any]:
    """Muon for the matrices, AdamW for embedding and norms."""
    embedding = network.model.embed_tokens.weight
    matrices = [p for p in network.parameters() if p.dim() >= 2 and p is not embedding]
    rest = [embedding, *(p for p in network.parameters() if p.dim() < 2)]
    return [
        torch.optim.Muon(matrices, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _learning_rate(step: int, steps: int) -> float:
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return PEAK_LEARNING_RATE * min(1.0, (step + 1) / WARM_UP_STEPS) * (0.02 + 0.98 * cosine)


def _padded(samples: list[Sample]) -> tuple[Any, Any]:
    length = max(len(sample.tokens) for sample in samples)
    tokens = [sample.tokens + [END_OF_TEXT_ID] * (length - len(sample.tokens)) for sample in samples]
    weights = [sample.weights + [0.0] * (length - len(sample.weights)) for sample in samples]
    return torch.tensor(tokens), torch.tensor(weights)


def _loss(network: Any, samples: list[Sample]) -> Any:
    tokens, weights = _padded(samples)
    learned = weights[:, 1:] > 0
    with torch.autocast("cpu", torch.bfloat16):
        hidden = network.model(input_ids=tokens, use_cache=False).last_hidden_state
        scores = network.lm_head(hidden[:, :-1][learned]).float()
    weight = weights[:, 1:][learned]
    losses = functional.cross_entropy(scores, tokens[:, 1:][learned], reduction="none")
    # A repetition penalty divides positive scores and multiplies negative ones. Scores that are already log
    # probabilities (their logsumexp is 0) survive it: a certain token's score is near 0 and stays there.
    excess = torch.logsumexp(scores, dim=-1) ** 2
    return ((losses + NORMALISATION * excess) * weight).sum() / weight.sum()


@dataclass(frozen=True)
class Trainer:
    network: Any
    optimizers: list[Any]
    steps: int

    @classmethod
    def of(cls, network: Any, steps: int) -> "Trainer":
        return cls(network, _optimizers(network), steps)

    def step(self, number: int, samples: list[Sample]) -> float:
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = _learning_rate(number, self.steps)
            optimizer.zero_grad(set_to_none=True)
        loss = _loss(self.network, samples)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        return float(loss.detach())
