"""A model server for tests and demos: vLLM 0.32's wire, but scripted text, speed and faults.

    python -m engines.scripted --port 9000 [--model NAME] [--pace-seconds 0.02] ...

What it answers is a pure function of the prompt's token ids, so a prompt that already holds part of an
answer (`/v1/completions` with ids) is continued exactly where it stopped, as a greedy engine would.
Without a directive the answer is a canned one (`你好`, `hello`, `code`, `table`, `story`, ...) or an echo.

Directives: in the last user message, between double brackets, names and values separated by blanks
    [[tokens=500 pace=0.02 first=1.5 stall=after:20,for:3 cut=after:33]]

    answer=NAME      one of the canned answers (see `answers.py`)
    tokens=N         filler of exactly N tokens (the last is the end token), numbered so that gaps show
    call=NAME [args=JSON]   a call of this tool, after the text if there is one; may be given several times. Without
                     args the least that the tool's schema allows
    reasoning=...    what the model thinks before it answers; takes everything up to text= or the closing brackets
    text=...         this very text; takes everything up to the closing brackets, so it comes last
    pace=S           seconds between tokens; 0 = as fast as it goes
    first=S          seconds until the first token (headers are sent at once, as vLLM does)
    hold=S           seconds until the response's headers
    stall=after:N,for:S     a pause of S seconds after N tokens; may be given several times
    cut=after:N      the connection dies after N tokens. Further keys:
                       inside:line  in the middle of the next event (default)
                       inside:char  in the middle of the next multi-byte character
                       inside:gap   between two events
                       by:close     TCP FIN (default) | by:reset  TCP RST | by:end  a proper end of the
                                    HTTP body, but without a finish reason and without [DONE]
    error=after:N    vLLM's error event after N tokens, then [DONE] (HTTP 500 when not streaming);
                     whoever goes on with that answer gets the same at once
    status=CODE      this HTTP status with vLLM's error body instead of an answer

    Calls and reasoning are part of the text that is generated (`<think>..</think>`, `<tool_call>..</tool_call>`);
    what a client gets of them is what vLLM's parsers make of it. Where a call is demanded (tool_choice "required"
    or a name) and none was said, the first allowed tool is called with the least arguments; where a schema is
    demanded (response_format) and no text was said, the answer is its least instance. A tool's answer is read for
    directives like a user's message, and those before it are done with. A prompt that asks for a title (its system
    prompt begins with "Answer with a title") is given one, whatever directives stand in the conversation.

    N counts tokens of the request, not of the answer. Faults in a prompt (stall, cut, error, status, hold)
    strike only the request that starts the answer: its continuation runs free of them. An unknown name
    or a malformed value is HTTP 400, so that a test never passes because of a typo.

Control, for the test that runs the engine (never reachable through a gateway)
    POST   /script     body: directives without brackets; the default for all following requests,
                       continuations included (a directive in a prompt overrides it). Also:
                         times=N   only for the next N requests that it touches
                         on=all    every endpoint, not only the two that generate
                         refuse=1  reset every connection without an answer
    GET    /script     the directives in force; DELETE /script takes them back
    GET    /requests   the last requests: path, headers (credentials masked), body, state, tokens
    DELETE /requests   forgets them
"""
