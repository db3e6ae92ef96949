import argparse
from dataclasses import fields

import uvloop

import engines.scripted
from engines.scripted.server import serve
from engines.scripted.settings import EngineSettings

_HELP = {
    "host": "address to listen on",
    "port": "0 chooses a free port, which is printed at the start",
    "model": "the name of the served model",
    "max_model_len": "tokens of context",
    "pace_seconds": "between tokens; 0 = as fast as possible",
    "first_seconds": "until the first token",
    "stream_interval": "tokens per event",
    "max_num_seqs": "concurrently generating requests; others wait",
    "max_num_queued_reqs": "requests in the engine, waiting ones included, before it answers 503",
    "enable_prompt_tokens_details": "include cached tokens in the usage",
    "tool_call_parser": "empty refuses tools, as vLLM does without it and --enable-auto-tool-choice",
    "keep_requests": "how many requests GET /requests returns",
}


def read_settings(arguments: list[str] | None = None) -> EngineSettings:
    parser = argparse.ArgumentParser(
        prog="python -m engines.scripted",
        description=engines.scripted.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for field in fields(EngineSettings):
        option = "--" + field.name.replace("_", "-")
        if isinstance(field.default, bool):
            parser.add_argument(option, action="store_true", help=_HELP[field.name])
        else:
            kind = int if field.default is None else type(field.default)
            text = f"{_HELP[field.name]} (default: {field.default})"
            parser.add_argument(option, type=kind, default=field.default, help=text)
    return EngineSettings(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    uvloop.run(serve(read_settings()))
