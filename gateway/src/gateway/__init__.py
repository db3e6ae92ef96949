"""Parley's gateway: runs turns on the model server and lets any number of clients follow them."""
