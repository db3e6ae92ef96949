"""The edges: each route checks its own credential and knows the wire; what it needs of an adapter is in `ports`."""
