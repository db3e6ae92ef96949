"""`python3 -m dev.setup demo|test|compose`: installs what is missing.

Any Python 3 can read this file (no f-string, no match, no new annotation), so that one that does not fit is told so
before it trips over the rest.
"""

import sys


def refusal(version: "tuple[int, ...]") -> str:
    """Empty for a Python that serves. vLLM's build for the CPU, with the torch it is locked to, exists for these."""
    if (3, 11) <= tuple(version[:2]) < (3, 14):
        return ""
    this = ".".join(map(str, version[:3]))
    return "Python 3.11, 3.12 or 3.13 is needed, and this is " + this + "; name one: make PYTHON=python3.13 ..."


if __name__ == "__main__":
    refused = refusal(sys.version_info[:3])
    if refused:
        sys.exit("parley: " + refused)
    from dev.installation import main

    main()
