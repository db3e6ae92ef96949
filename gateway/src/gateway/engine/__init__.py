"""The model server, spoken to through the openai package; its chunks are read as bytes.

Building an SDK object for every token would cost more than all the rest of the gateway together
(116-140 us against 30 us a chunk), so the body is split into lines and decoded into the few fields we use.
"""
