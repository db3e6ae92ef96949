"""A model server for tests and demos: vLLM 0.32's wire format with scripted text, speed and faults.

    python -m engines.scripted --port 9000 [--model NAME] [--pace-seconds 0.02] ...

The answer is a pure function of the prompt's token ids, so a prompt that already holds part of an answer
(`/v1/completions` with ids) is continued exactly where it stopped, as with greedy decoding. Without a
directive the answer is a canned one (`你好`, `hello`, `code`, `table`, `story`, ...) or an echo.

Directives: in the last user message, between double brackets, names and values separated by blanks
    [[tokens=500 pace=0.02 first=1.5 stall=after:20,for:3 cut=after:33]]

    answer=NAME      one of the canned answers (see `answers.py`)
    tokens=N         filler of exactly N tokens (the last is the end token), numbered so that gaps are visible
    call=NAME [args=JSON]   a call of this tool, after the text if there is one; may be repeated. Without args: the
                     minimal instance of the tool's schema
    reasoning=...    the reasoning before the answer; takes everything up to text= or the closing brackets
    text=...         exactly this text; takes everything up to the closing brackets, so it comes last
    pace=S           seconds between tokens; 0 = as fast as possible
    first=S          seconds until the first token (headers are sent at once, as by vLLM)
    hold=S           seconds until the response's headers
    stall=after:N,for:S     a pause of S seconds after N tokens; may be repeated
    cut=after:N      the connection breaks after N tokens. Further keys:
                       inside:line  in the middle of the next event (default)
                       inside:char  in the middle of the next multi-byte character
                       inside:gap   between two events
                       by:close     TCP FIN (default) | by:reset  TCP RST | by:end  a proper end of the
                                    HTTP body, but without a finish reason and without [DONE]
    error=after:N    vLLM's error event after N tokens, then [DONE] (HTTP 500 when not streaming);
                     a continuation of that answer fails at once
    status=CODE      this HTTP status with vLLM's error body instead of an answer

    Calls and reasoning are part of the generated text (`<think>..</think>`, `<tool_call>..</tool_call>`); a client
    receives what vLLM's parsers extract from it. If a call is required (tool_choice "required" or a name) and no
    directive makes one, the first allowed tool is called with minimal arguments; if a schema is required
    (response_format) and no directive gives a text, the answer is its minimal instance. Directives are also read
    from a tool's answer, and replace those before it. A prompt that asks for a title (its system prompt begins with
    "Answer with a title") gets one, whatever directives the conversation contains.

    N counts tokens of the request, not of the answer. Faults in a prompt (stall, cut, error, status, hold)
    apply only to the request that starts the answer, not to its continuation. An unknown name or a malformed
    value is HTTP 400, so that a test never passes because of a typo.

Control, for the test that runs the engine (never reachable through a gateway)
    POST   /script     body: directives without brackets; the default for all following requests,
                       continuations included (a directive in a prompt overrides it). Also:
                         times=N   only for the next N requests that it affects
                         on=all    every endpoint, not only the two that generate
                         refuse=1  reset every connection without an answer
    GET    /script     the active directives; DELETE /script removes them
    GET    /requests   the last requests: path, headers (credentials masked), body, state, tokens
    DELETE /requests   clears them
"""
