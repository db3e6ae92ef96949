"""The edges: each route checks its own credential and knows the wire; none of them knows Redis or the engine."""
