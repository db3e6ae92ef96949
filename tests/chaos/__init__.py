"""The promise on trial: things die at random tokens under load, and no answer may lose, double or change a character.

texts       what the engine is asked to say, so that every character of an answer is known beforehand
recording   every frame that a follower saw, with its time
clients     followers over SSE and WebSocket, which come back as a page does
proxy       the proxy between a gateway and what it needs, which can be cut, stalled, reset and forgotten
environment      the stack on trial, with such a proxy in every place
faults      what is done to it
trial       one round: a load, one fault at a random token, and what came of it
oracle      whether the promises were kept
report      the table
"""
