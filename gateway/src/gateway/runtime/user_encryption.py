"""What a client keeps for the server without being able to read or change it."""

import base64
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken

from gateway.errors import InvalidRequest


class UserEncryption:
    """One key a user, so that what was sealed for one opens for nobody else."""

    def __init__(self, server_key: bytes) -> None:
        self._server_key = server_key

    def encrypt(self, user_id: str, text: str) -> str:
        return self._fernet(user_id).encrypt(text.encode()).decode()

    def decrypt(self, user_id: str, sealed: str, *, param: str = "input") -> str:
        """Raises InvalidRequest for what was not sealed here, or for somebody else."""
        try:
            return self._fernet(user_id).decrypt(sealed.encode("utf-8", "surrogatepass")).decode()
        except InvalidToken as exc:
            raise InvalidRequest(
                "`encrypted_content` was not made by this server for you", param=param, code="invalid_value"
            ) from exc

    def _fernet(self, user_id: str) -> Fernet:
        key = hmac.new(self._server_key, f"seal of {user_id}".encode(), hashlib.sha256).digest()
        return Fernet(base64.urlsafe_b64encode(key))
