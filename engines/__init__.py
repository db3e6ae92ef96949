"""Model servers for tests and demos: the scripted engine, and the model that real vLLM serves."""
