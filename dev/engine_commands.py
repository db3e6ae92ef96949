"""The engines a local stack can run on: real vLLM on the CPU, the scripted engine, or a server somewhere else."""

import json
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

from dev.loopback import REQUEST_ERRORS, fetch
from dev.process import Command

MODEL = "parley-demo"
CONTEXT_TOKENS = 4096
# Function tools, in the format that the demo model was trained on. Arguments are constrained to their schema, and JSON
# has no whitespace between its parts: so small a model would never end it.
TOOLS = (
    *("--enable-auto-tool-choice", "--tool-call-parser", "hermes", "--tool-strict-level", "parameter"),
    *("--structured-outputs-config.backend", "xgrammar"),
    *("--structured-outputs-config.disable_any_whitespace", "true"),
)


def vllm(root: Path, port: int) -> Command:
    """The cheapest start measured: 15 CPU seconds and 1.3 GB for the demo model."""
    return Command(
        name="vllm",
        arguments=[
            str(root / ".venv-engine/bin/python"),
            *("-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)),
            *("--model", str(root / "engines/demo_model/lantern"), "--served-model-name", MODEL),
            *("--max-model-len", str(CONTEXT_TOKENS), "--kv-cache-memory-bytes", str(128 * 2**20)),
            *("--enforce-eager", "--distributed-executor-backend", "uni", "--disable-uvicorn-access-log"),
            "--enable-prompt-tokens-details",
            *TOOLS,
        ],
        environment={
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
        },
        port=port,
        ready=lambda: completes_a_chat(f"http://127.0.0.1:{port}/v1"),
        ready_within_seconds=180,
    )


def scripted(port: int) -> Command:
    return Command(
        name="scripted-engine",
        arguments=[
            *(sys.executable, "-m", "engines.scripted", "--host", "127.0.0.1", "--port", str(port)),
            *("--model", MODEL, "--max-model-len", str(CONTEXT_TOKENS), "--enable-prompt-tokens-details"),
        ],
        port=port,
        ready=lambda: completes_a_chat(f"http://127.0.0.1:{port}/v1"),
    )


def is_reachable(base_url: str) -> bool:
    """Whether an HTTP server answers there, whatever its status."""
    try:
        fetch(f"{base_url.rstrip('/')}/models").close()
    except HTTPError:
        return True
    except REQUEST_ERRORS:
        return False
    return True


def is_vllm(base_url: str) -> bool:
    """vLLM and compatible servers return their version beside /v1; other servers and unreachable ones do not."""
    root = base_url.rstrip("/").removesuffix("/v1")
    try:
        with fetch(f"{root}/version") as answer:
            body = json.load(answer)
    except REQUEST_ERRORS:
        return False
    return isinstance(body, dict) and "version" in body


def completes_a_chat(base_url: str) -> bool:
    """Requests one token."""
    with fetch(f"{base_url}/models") as answer:
        model = json.load(answer)["data"][0]["id"]
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
    request = Request(f"{base_url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with fetch(request, timeout_seconds=60) as answer:
        return bool(json.load(answer)["choices"])
