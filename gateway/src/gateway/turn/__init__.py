"""One answer while it is made: a state machine, its log, and what is kept of it. Pure: no I/O."""
