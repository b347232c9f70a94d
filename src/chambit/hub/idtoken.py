"""ID tokens: what a provider says of a person, believed when signature, sender, receiver, times and nonce are right.

Follows OpenID Connect Core 1.0, section 3.1.3.7. Signatures are checked by joserfc, claims by Authlib.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import ECKey, JWKRegistry, KeySet, RSAKey
from joserfc.jws import JWSRegistry

from chambit.hub.refusals import HubError

LEEWAY = 60
"""Seconds by which the clocks of hub and provider may differ."""
LEAST_RSA = 2048
"""Bits of an RSA key that is taken (NIST SP 800-131A)."""
LONGEST_SUBJECT = 200


class TokenError(HubError):
    """A token that is not believed, and why, without anything of its content."""


class UnknownKeyError(TokenError):
    """The token names a key that is not among the known ones: the provider may have changed its keys."""


class Wanted(NamedTuple):
    """What a token must say: who wrote it, for whom, to which question, how signed, and not before when."""

    issuer: str
    client: str
    nonce: str
    algorithms: Sequence[str]
    since: float
    access_token: str


def keys_of(document: Mapping[str, Any]) -> KeySet:
    """The public keys of a provider's key document that can sign; others are left out (RFC 7517, section 5).

    Raises:
        TokenError: when there is none.
    """
    found = []
    listed = document.get("keys")
    for one in listed if isinstance(listed, list) else ():
        if not isinstance(one, dict) or one.get("kty") not in ("RSA", "EC") or one.get("use", "sig") != "sig":
            continue
        try:
            key = JWKRegistry.import_key(one)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if isinstance(key, ECKey) or (isinstance(key, RSAKey) and key.raw_value.key_size >= LEAST_RSA):
            found.append(key)
    if not found:
        raise TokenError(
            "제공자가 쓸 수 있는 열쇠를 공개하지 않습니다", "the provider publishes no key that can be used"
        )
    return KeySet(list(found))


def checked(token: str, keys: KeySet, wanted: Wanted, now: float | None = None) -> dict[str, Any]:
    """The claims of a token.

    Raises:
        UnknownKeyError: when its key is not among these.
        TokenError: when anything else is wrong with it.
    """
    registry = JWSRegistry(algorithms=list(wanted.algorithms), strict_check_header=False)
    try:
        read = jwt.decode(token, keys, registry=registry)
    except InvalidKeyIdError:
        raise UnknownKeyError(
            "제공자가 공개하지 않은 열쇠로 서명되었습니다", "it is signed by a key that the provider does not publish"
        ) from None
    except (JoseError, ValueError, TypeError) as error:
        what = getattr(error, "error", "") or "unreadable"
        raise TokenError(f"서명이 맞지 않습니다({what})", f"its signature does not hold ({what})") from None
    claims = CodeIDToken(
        read.claims,
        read.header,
        {"iss": {"essential": True, "value": wanted.issuer}, "aud": {"essential": True, "value": wanted.client}},
        {"nonce": wanted.nonce, "client_id": wanted.client, "access_token": wanted.access_token},
    )
    now = time.time() if now is None else now
    try:
        claims.validate(int(now), LEEWAY)
    except (JoseError, ValueError, TypeError) as error:
        raise _wrong(getattr(error, "claim", "") or "?") from None
    _strictly(claims, wanted)
    return dict(claims)


def _strictly(claims: Mapping[str, Any], wanted: Wanted) -> None:
    """What the standard leaves to the receiver: no other audience is trusted, and no token from before the question."""
    audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    if audience != [wanted.client]:
        raise _wrong("aud")
    if claims["iat"] < wanted.since - LEEWAY:
        raise _wrong("iat")
    subject = claims["sub"]
    if not subject.strip() or len(subject) > LONGEST_SUBJECT or not subject.isprintable():
        raise _wrong("sub")


def _wrong(claim: str) -> TokenError:
    return TokenError(f"{claim} 값이 맞지 않습니다", f"its claim {claim} is not as it must be")
