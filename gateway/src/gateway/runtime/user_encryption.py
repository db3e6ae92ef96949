"""Encrypts what a client keeps for the server, so that it can neither read nor change it."""

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken

from gateway.errors import InvalidRequest


class UserEncryption:
    """With a key for each user: ciphertext of one is refused from every other."""

    def __init__(self, server_key: bytes) -> None:
        self._server_key = server_key

    def encrypt(self, user_id: str, text: str) -> str:
        return self._fernet(user_id).encrypt(text.encode()).decode()

    def decrypt(self, user_id: str, ciphertext: str, *, param: str = "input") -> str:
        """Raises InvalidRequest for what was not encrypted here for this user."""
        try:
            return self._fernet(user_id).decrypt(ciphertext.encode("utf-8", "surrogatepass")).decode()
        except InvalidToken as exc:
            raise InvalidRequest(
                "`encrypted_content` was not made by this server for you", param=param, code="invalid_value"
            ) from exc

    def _fernet(self, user_id: str) -> Fernet:
        # The label is part of every key: another one would make existing compactions unreadable.
        key = hmac.new(self._server_key, f"seal of {user_id}".encode(), hashlib.sha256).digest()
        return Fernet(base64.urlsafe_b64encode(key))
