import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidRequest
from gateway.runtime.user_encryption import UserEncryption

ENCRYPTION = UserEncryption(b"k" * 32)
CIPHERTEXT = ENCRYPTION.encrypt("user_1", "你好")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_encrypted_text_decrypts_for_its_user(text: str) -> None:
    assert ENCRYPTION.decrypt("user_1", ENCRYPTION.encrypt("user_1", text)) == text


def test_the_client_cannot_read_the_ciphertext() -> None:
    assert "你好" not in CIPHERTEXT
    assert ENCRYPTION.encrypt("user_1", "你好") != CIPHERTEXT


@pytest.mark.parametrize(
    ("encryption", "user", "ciphertext"),
    [
        (ENCRYPTION, "user_2", CIPHERTEXT),
        (UserEncryption(b"o" * 32), "user_1", CIPHERTEXT),
        (ENCRYPTION, "user_1", CIPHERTEXT[:-6] + "AAAAA="),
        (ENCRYPTION, "user_1", "x" + CIPHERTEXT),
        (ENCRYPTION, "user_1", ""),
        (ENCRYPTION, "user_1", "你好"),
        (ENCRYPTION, "user_1", "\ud800"),
        (ENCRYPTION, "user_1", "gAAAAA"),
    ],
    ids=["another user", "another key", "changed", "longer", "empty", "not base64", "half a character", "cut short"],
)
def test_ciphertext_that_was_not_made_here_for_this_user_is_refused(
    encryption: UserEncryption, user: str, ciphertext: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        encryption.decrypt(user, ciphertext)
    assert (caught.value.code, caught.value.param) == ("invalid_value", "input")
