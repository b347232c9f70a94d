"""Signing keys of members: Ed25519, the private one in a PKCS #8 PEM under a passphrase, the public one in PEM.

Ed25519 is RFC 8032. The library encrypts PKCS #8 with a key derivation of few rounds, so the passphrase has to be long;
how long stands in the policy. A key's id is the SHA-256 of its public part (DER) and only helps to find the key.
"""

import datetime
from functools import cached_property
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, field_validator

from chambit.core import digest
from chambit.core.evidence import Frozen
from chambit.review.board.rules import Rules
from chambit.review.board.words import BoardError, say, unmet


class NewKey(NamedTuple):
    """A key just made: the private part as the member keeps it, and the public part for everybody."""

    private: bytes
    public: str


class KnownKey(Frozen):
    """A public key that is known to be a member's, and the days on which it signs for that member."""

    member: str = Field(min_length=1)
    public: str
    begins: datetime.date
    until: datetime.date | None = None

    @field_validator("public")
    @classmethod
    def _readable(cls, value: str) -> str:
        _public(value)
        return value

    @cached_property
    def key(self) -> Ed25519PublicKey:
        """The key itself."""
        return _public(self.public)

    @cached_property
    def id(self) -> str:
        """SHA-256 of the public key."""
        return key_id(self.key)

    def signs_on(self, day: datetime.date) -> bool:
        """Whether the member signs with it on a day."""
        return self.begins <= day and (self.until is None or day <= self.until)


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of a public key as DER (SubjectPublicKeyInfo)."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return digest.of_bytes(key.public_bytes(serialization.Encoding.DER, form))


def generate(passphrase: str, rules: Rules) -> NewKey:
    """A new key for a member.

    Raises:
        BoardError: when the passphrase is too short.
    """
    if len(passphrase) < rules.passphrase_least:
        found = [unmet("keys.passphrase_short", least=rules.passphrase_least)]
        raise BoardError(say("errors.key"), found)
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(passphrase.encode()),
    )
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return NewKey(private, key.public_key().public_bytes(serialization.Encoding.PEM, form).decode("ascii"))


def opened(private: bytes, passphrase: str) -> Ed25519PrivateKey:
    """The private key in a PEM file.

    Raises:
        BoardError: when the passphrase is wrong, the file is no key, is not encrypted, or is of another kind.
    """
    try:
        key = serialization.load_pem_private_key(private, passphrase.encode())
    except TypeError:  # the library's word for a key without encryption, or an empty passphrase
        raise BoardError(say("errors.key"), [unmet("keys.not_encrypted")]) from None
    except (ValueError, UnsupportedAlgorithm):
        raise BoardError(say("errors.key"), [unmet("keys.not_opened")]) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BoardError(say("errors.key"), [unmet("keys.kind")])
    return key


def _public(text: str) -> Ed25519PublicKey:
    try:
        key = serialization.load_pem_public_key(text.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError("this is no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("this is no Ed25519 key")
    return key
