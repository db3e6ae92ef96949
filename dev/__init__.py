"""The stack as local processes: `make demo` and the tests start it through the same code."""
