"""The envelope of a signed document: DSSE, version 1 (https://github.com/secure-systems-lab/dsse, protocol.md).

What is signed is `PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body`, with lengths in bytes.

Stricter than the protocol in three ways, for a decision of a board must not change unseen by a single letter: a
signature that fits no known key is a fault and is not passed over; a `keyid`, where given, must be that of the key that
fits; and base64 must be spelled as an encoder spells it. Both alphabets of base64 are read.
"""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ConfigDict, Field, ValidationError

from chambit.core import digest
from chambit.core.evidence import Frozen
from chambit.review.board.keys import KnownKey, key_id
from chambit.review.board.words import BoardError, Unmet, say, unmet


class Signature(Frozen):
    """One signature in base64, and the id of the key that made it ('' when not told)."""

    keyid: str = ""
    sig: str


class Envelope(Frozen):
    """A document with its signatures, as DSSE writes it in JSON."""

    model_config = ConfigDict(populate_by_name=True)

    payload: str
    payload_type: str = Field(alias="payloadType")
    signatures: tuple[Signature, ...] = ()

    @property
    def body(self) -> bytes:
        """The document itself, not yet verified.

        Raises:
            BoardError: when it is not base64.
        """
        return _decoded(self.payload, "payload")

    def json_text(self) -> str:
        """The envelope as one line of JSON."""
        return digest.canonical(self.model_dump(mode="json", by_alias=True))


class Opened(NamedTuple):
    """A document of which every signature fits, and the keys that made them, each once."""

    body: bytes
    keys: tuple[KnownKey, ...]


def pae(payload_type: str, body: bytes) -> bytes:
    """The bytes a signature is made over.

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(body), body)


def sealed(payload_type: str, body: bytes) -> Envelope:
    """An envelope without signatures."""
    return Envelope(payload=base64.b64encode(body).decode("ascii"), payload_type=payload_type)


def signed(envelope: Envelope, key: Ed25519PrivateKey) -> Envelope:
    """The envelope with one more signature.

    Raises:
        BoardError: when this key has signed it already.
    """
    name = key_id(key.public_key())
    if any(item.keyid == name for item in envelope.signatures):
        raise BoardError(say("errors.signing"), [unmet("signatures.signed_already", keyid=name[:16])])
    made = key.sign(pae(envelope.payload_type, envelope.body))
    signature = Signature(keyid=name, sig=base64.b64encode(made).decode("ascii"))
    return envelope.model_copy(update={"signatures": (*envelope.signatures, signature)})


def read(text: str) -> Envelope:
    """An envelope from JSON.

    Raises:
        BoardError: when it is not one.
    """
    try:
        return Envelope.model_validate(json.loads(text))
    except (ValueError, RecursionError, ValidationError):
        raise BoardError(say("errors.envelope"), [unmet("signatures.not_an_envelope")]) from None


def opened(envelope: Envelope, known: Sequence[KnownKey]) -> Opened:
    """The document, when every signature fits a known key.

    Raises:
        BoardError: with everything that is wrong: no base64, an unknown key, a signature that does not fit.
    """
    body = envelope.body
    message = pae(envelope.payload_type, body)
    found: list[Unmet] = []
    keys: dict[str, KnownKey] = {}
    for number, signature in enumerate(envelope.signatures, start=1):
        try:
            key = _made_by(signature, number, message, known)
        except BoardError as error:
            found += error.unmet
        else:
            keys[key.id] = key
    if found:
        raise BoardError(say("errors.envelope"), found)
    return Opened(body, tuple(keys.values()))


def _made_by(signature: Signature, number: int, message: bytes, known: Sequence[KnownKey]) -> KnownKey:
    made = _decoded(signature.sig, "sig")
    key = next((key for key in known if _fits(key, made, message)), None)
    if key is not None and signature.keyid in ("", key.id):
        return key
    if key is None and signature.keyid not in {"", *(key.id for key in known)}:
        problem = unmet("signatures.unknown_key", number=number, keyid=signature.keyid[:16])
    else:
        problem = unmet("signatures.tampered", number=number)
    raise BoardError(say("errors.envelope"), [problem])


def _fits(key: KnownKey, made: bytes, message: bytes) -> bool:
    try:
        key.key.verify(made, message)
    except InvalidSignature:
        return False
    return True


def _decoded(text: str, field: str) -> bytes:
    """Bytes from base64 in either alphabet, spelled as an encoder spells it."""
    try:
        plain = text.translate(str.maketrans("-_", "+/"))
        body = base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError):
        body = None
    if body is None or text not in (base64.b64encode(body).decode(), base64.urlsafe_b64encode(body).decode()):
        raise BoardError(say("errors.envelope"), [unmet("signatures.encoding", field=field)])
    return body
