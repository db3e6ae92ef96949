"""`python3 -m dev.setup demo|test|compose`: installs what is missing.

Any Python 3 can parse this file (no f-string, no match, no new annotation), so that an unsupported one prints a clear
message instead of a syntax error.
"""

import sys


def version_error(version: "tuple[int, ...]") -> str:
    """Empty for a supported Python: vLLM's CPU build and the torch it is locked to exist for these versions."""
    if (3, 11) <= tuple(version[:2]) < (3, 14):
        return ""
    this = ".".join(map(str, version[:3]))
    return "Python 3.11, 3.12 or 3.13 is needed, and this is " + this + "; choose one: make PYTHON=python3.13 ..."


if __name__ == "__main__":
    error = version_error(sys.version_info[:3])
    if error:
        sys.exit("parley: " + error)
    from dev.installation import main

    main()
