"""The part of vLLM's /metrics that tests and dashboards read, in Prometheus' text format."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

CONTENT_TYPE: Final = "text/plain; version=1.0.0; charset=utf-8"
_REASONS: Final = ("stop", "length", "abort", "error", "repetition")


class Metrics:
    def __init__(self, model: str) -> None:
        self._model = model
        self.prompt_tokens = 0
        self.generation_tokens = 0
        # As in vLLM, a request whose client disconnected is not counted.
        self.finished: Counter[str] = Counter()

    def render(self, running: int, waiting: int) -> str:
        return "".join(self._lines(running, waiting))

    def _lines(self, running: int, waiting: int) -> Iterator[str]:
        one = {"engine": "0", "model_name": self._model}
        yield _help("num_requests_running", "gauge", "Number of requests in model execution batches.")
        yield _sample("num_requests_running", one, running)
        yield _help("num_requests_waiting", "gauge", "Number of requests waiting to be processed.")
        yield _sample("num_requests_waiting", one, waiting)
        yield _help("prompt_tokens_total", "counter", "Number of prefill tokens processed.")
        yield _sample("prompt_tokens_total", one, self.prompt_tokens)
        yield _help("generation_tokens_total", "counter", "Number of generation tokens processed.")
        yield _sample("generation_tokens_total", one, self.generation_tokens)
        yield _help("request_success_total", "counter", "Count of successfully processed requests.")
        for reason in _REASONS:
            labels = {"engine": "0", "finished_reason": reason, "model_name": self._model}
            yield _sample("request_success_total", labels, self.finished[reason])


def _help(name: str, kind: str, text: str) -> str:
    return f"# HELP vllm:{name} {text}\n# TYPE vllm:{name} {kind}\n"


def _sample(name: str, labels: dict[str, str], value: int) -> str:
    rendered = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"vllm:{name}{{{rendered}}} {value:.1f}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
