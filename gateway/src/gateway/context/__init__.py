"""What the model reads: which messages, with which text, sampled how. Pure: no I/O."""
