"""The engines a local stack can run on: real vLLM on the CPU, the scripted engine, or a server somewhere else."""

import json
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from dev.process import Command

MODEL = "parley-demo"
CONTEXT_TOKENS = 4096


def vllm(root: Path, port: int) -> Command:
    """The leanest start measured: 15 CPU seconds and 1.3 GB for the demo model."""
    return Command(
        name="vllm",
        arguments=[
            str(root / ".venv-engine/bin/python"),
            *("-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)),
            *("--model", str(root / "dev/demo_model/lantern"), "--served-model-name", MODEL),
            *("--max-model-len", str(CONTEXT_TOKENS), "--kv-cache-memory-bytes", str(128 * 2**20)),
            *("--enforce-eager", "--distributed-executor-backend", "uni", "--disable-uvicorn-access-log"),
            "--enable-prompt-tokens-details",
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
        ready=lambda: answers_a_chat(f"http://127.0.0.1:{port}/v1"),
        ready_within_seconds=180,
    )


def scripted(port: int) -> Command:
    return Command(
        name="scripted-engine",
        arguments=[
            *(sys.executable, "-m", "dev.scripted_engine", "--host", "127.0.0.1", "--port", str(port)),
            *("--model", MODEL, "--max-model-len", str(CONTEXT_TOKENS)),
        ],
        port=port,
        ready=lambda: answers_a_chat(f"http://127.0.0.1:{port}/v1"),
    )


def is_there(base_url: str) -> bool:
    """Whether anything speaks HTTP there, whatever it says."""
    try:
        urlopen(f"{base_url.rstrip('/')}/models", timeout=5).close()  # noqa: S310 - the user's own engine
    except HTTPError:
        return True
    except (OSError, ValueError):
        return False
    return True


def is_vllm(base_url: str) -> bool:
    """vLLM, or what speaks like it, counts tokens at /tokenize; other servers do not know the path."""
    root = base_url.rstrip("/").removesuffix("/v1")
    try:
        with urlopen(f"{root}/version", timeout=5) as answer:  # noqa: S310 - the user's own engine
            return "version" in json.load(answer)
    except (HTTPError, ValueError):
        return False


def answers_a_chat(base_url: str) -> bool:
    """One token of a real answer."""
    with urlopen(f"{base_url}/models", timeout=5) as answer:  # noqa: S310 - the user's own engine
        model = json.load(answer)["data"][0]["id"]
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 1}
    request = Request(f"{base_url}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urlopen(request, timeout=60) as answer:  # noqa: S310
        return bool(json.load(answer)["choices"])
