from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """The names are vLLM's where vLLM has the option."""

    host: str = "127.0.0.1"
    # 0 chooses a free port, which is printed at the start.
    port: int = 9000
    model: str = "scripted"
    max_model_len: int = 4096
    pace_seconds: float = 0.02
    first_seconds: float = 0.05
    stream_interval: int = 1
    max_num_seqs: int = 4096
    max_num_queued_reqs: int | None = None
    enable_prompt_tokens_details: bool = False
    # With vLLM's --enable-auto-tool-choice; empty for a server that has neither.
    tool_call_parser: str = "hermes"
    keep_requests: int = 256
