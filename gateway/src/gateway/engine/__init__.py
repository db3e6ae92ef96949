"""The model servers, reached through the openai package; chunks are decoded from bytes.

Building an SDK object for every chunk would cost more than everything else the gateway does with it
(116-140 us against 30 us), so the body is split into lines and decoded into the few fields that are used.
"""
