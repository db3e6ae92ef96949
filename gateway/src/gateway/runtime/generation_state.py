"""What the engine has generated of an answer so far, through any gateway."""

from dataclasses import dataclass, field

from gateway.protocol.resources import Usage


@dataclass(slots=True)
class GenerationState:
    """`prompt_tokens` counts the prompt where `prompt_ids` are not known here. `finish_reason` is None while the engine
    has not finished. `is_one_call`: the whole output came from one call to the engine, so `reported` describes it."""

    token_ids: list[int] = field(default_factory=list)
    prompt_ids: tuple[int, ...] = ()
    prompt_tokens: int = 0
    finish_reason: str | None = None
    reported: Usage | None = None
    is_one_call: bool = True

    @property
    def usage(self) -> Usage | None:
        """As the engine reported it; counted from token ids after a continuation or an interruption."""
        if self.reported is not None and self.is_one_call:
            return self.reported
        prompt, output = len(self.prompt_ids) or self.prompt_tokens, len(self.token_ids)
        return Usage(prompt, output, prompt + output) if prompt else None
