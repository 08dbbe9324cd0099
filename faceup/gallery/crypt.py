"""Encryption at rest: AES-256-GCM, with a key as it is or from a passphrase by scrypt.

Every file gets a nonce of its own, drawn at random, and is bound to what it belongs to: moved into another gallery or
to another place in its own, it does not open.
"""

from __future__ import annotations

import os
import re
import secrets
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from faceup.errors import ConfigError, DataError
from faceup.files import shown

ENVIRONMENT = "FACEUP_GALLERY_KEY"
KEY_BYTES = 32
NONCE_BYTES = 12
MIN_PASSPHRASE = 12
# 128 * n * r bytes of memory, 32 MiB. A header that asks for more than the limits is refused: it could be a trap.
SCRYPT = {"n": 2**15, "r": 8, "p": 1}
SCRYPT_LIMITS = {"n": 2**20, "r": 32, "p": 16}
_PRINTABLE = frozenset(string.printable.encode())


def read_secret(key_file: Path | None) -> bytes | None:
    """Return the key or passphrase from a file, else from the environment variable, else None.

    32 bytes that are no text, or 64 hex digits, are a key; anything else is a passphrase of at least 12 characters.

    Raises:
        ConfigError: the file cannot be read, or the passphrase is too short.
    """
    if key_file is not None:
        try:
            secret = key_file.read_bytes()
        except OSError as error:
            raise ConfigError(f"{shown(key_file)}: the key cannot be read ({error.strerror or error}).") from error
        source = shown(key_file)
    elif ENVIRONMENT in os.environ:
        secret, source = os.fsencode(os.environ[ENVIRONMENT]), ENVIRONMENT
    else:
        return None
    if raw_key(secret) is not None:
        return secret
    secret = secret.strip()
    if len(secret) < MIN_PASSPHRASE:
        raise ConfigError(
            f"{source}: give 32 random bytes, 64 hex digits, or a passphrase of at least {MIN_PASSPHRASE} characters."
        )
    return secret


def raw_key(secret: bytes) -> bytes | None:
    """Return the 32 bytes that a secret is or spells, None for a passphrase."""
    if len(secret) == KEY_BYTES and not set(secret) <= _PRINTABLE:
        return secret
    text = secret.strip()
    return bytes.fromhex(text.decode()) if re.fullmatch(rb"[0-9a-fA-F]{64}", text) else None


def new_derivation(secret: bytes) -> dict[str, Any]:
    """Return how a new gallery gets its key from the secret, ready for JSON; a passphrase gets a new salt."""
    if raw_key(secret) is not None:
        return {"kind": "raw"}
    return {"kind": "scrypt", "salt": secrets.token_hex(16), **SCRYPT}


class Cipher:
    """Seals and opens bytes with one key."""

    def __init__(self, secret: bytes, derivation: Mapping[str, Any]) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            raise ConfigError("Encrypted galleries need cryptography: pip install 'faceup[gallery]'.") from error
        self._aead = AESGCM(_key(secret, derivation))

    def seal(self, data: bytes, bound: bytes) -> bytes:
        """Return nonce and ciphertext of `data`, which opens only together with the same `bound`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data, bound)

    def open(self, sealed: bytes, bound: bytes) -> bytes:
        """Return what was sealed.

        Raises:
            DataError: another key, changed bytes, or another `bound`.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
        except (InvalidTag, ValueError) as error:
            raise DataError("The key is wrong, or the file was changed.") from error


def _key(secret: bytes, derivation: Mapping[str, Any]) -> bytes:
    raw = raw_key(secret)
    if derivation.get("kind") == "raw":
        if raw is None:
            raise DataError("The gallery was encrypted with a key of 32 bytes, not with a passphrase.")
        return raw
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    try:
        cost = {name: int(derivation[name]) for name in SCRYPT_LIMITS}
        salt = bytes.fromhex(derivation["salt"])
        if derivation["kind"] != "scrypt" or any(not 0 < cost[name] <= most for name, most in SCRYPT_LIMITS.items()):
            raise ValueError(derivation)
        return Scrypt(salt=salt, length=KEY_BYTES, **cost).derive(secret)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("The gallery's header does not say in a known way how its key is made.") from error
