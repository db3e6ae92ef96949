"""A resource as the body of an answer."""

from fastapi import Response

from gateway.protocol.resources import encoded


def answer(resource: object) -> Response:
    return Response(encoded(resource), media_type="application/json")
