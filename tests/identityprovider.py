"""An identity provider for tests of the hub: real HTTP on loopback, real signatures, every fault that is asked for."""

import base64
import datetime
import hashlib
import hmac
import ipaddress
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

pytest.importorskip("joserfc")

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

SECRET = "s3cret of the hub+at%the provider"
CLIENT = "chambit"
REALM = "/realms/hospital"
Handler = Callable[["Answering"], None]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed_by_hand(header: dict[str, Any], claims: dict[str, Any], key: bytes | None) -> str:
    """A token as no honest library would make it: without a signature, or with a secret as the key."""
    message = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(claims).encode())}"
    signature = b"" if key is None else hmac.new(key, message.encode(), hashlib.sha256).digest()
    return f"{message}.{b64(signature)}"


class Provider:
    """What the tests set and what they look at.

    Attributes:
        key: that signs; `published` are those of the key document.
        alg: of the signature.
        person: claims of whoever signs in.
        document: what is changed in the discovery document; None takes a field away.
        claims: changes the claims of the next tokens.
        token: makes the token instead.
        answer: changes the parameters of the way back.
        special: answers a path in another way.
        interactive: whether the page for signing in waits for a click.
    """

    rsa = RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig"}, auto_kid=False)
    ec = ECKey.generate_key("P-256", {"kid": "ec-1", "use": "sig"}, auto_kid=False)

    def __init__(self, port: int, scheme: str = "http") -> None:
        self.base = f"{scheme}://127.0.0.1:{port}"
        self.issuer = self.base + REALM
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.left: list[dict[str, str]] = []
        self.honest()

    def honest(self) -> None:
        """Every fault taken away."""
        self.key: Any = self.rsa
        self.published: list[Any] = [self.rsa, self.ec]
        self.alg = "RS256"
        self.person: dict[str, Any] = {"sub": "b1f0-1", "name": "김판독", "preferred_username": "kim"}
        self.document: dict[str, Any] = {}
        self.claims: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
        self.token: Callable[[dict[str, Any]], str] | None = None
        self.answer: Callable[[dict[str, str]], dict[str, str]] = lambda answer: answer
        self.special: dict[str, Handler] = {}
        self.interactive = False

    def discovery(self) -> dict[str, Any]:
        made = {
            "issuer": self.issuer,
            "authorization_endpoint": self.issuer + "/authorize",
            "token_endpoint": self.issuer + "/token",
            "jwks_uri": self.issuer + "/certs",
            "end_session_endpoint": self.issuer + "/logout",
            "authorization_response_iss_parameter_supported": True,
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }
        return {name: value for name, value in (made | self.document).items() if value is not None}

    def authorized(self, given: dict[str, str]) -> str:
        """Where a person who signed in is sent back to."""
        assert given["response_type"] == "code"
        assert given["client_id"] == CLIENT
        assert given["code_challenge_method"] == "S256"
        assert "openid" in given["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = given
        answer = self.answer({"code": code, "state": given["state"], "iss": self.issuer})
        return f"{given['redirect_uri']}?{urlencode(answer)}"

    def tokens(self, given: dict[str, str], header: str | None) -> tuple[int, dict[str, Any]]:
        """The tokens for a code, once, to the client that proves to be the one that asked."""
        basic = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if header != basic and (given.get("client_id"), given.get("client_secret")) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        asked = self.codes.pop(given.get("code", ""), None)
        challenge = b64(hashlib.sha256(given.get("code_verifier", "").encode()).digest())
        if asked is None or asked["code_challenge"] != challenge or asked["redirect_uri"] != given["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "exp": now + 300, "iat": now, "nonce": asked["nonce"]}
        claims = self.claims(claims | self.person)
        header_ = {"alg": self.alg, "kid": self.key.kid}
        token = self.token(claims) if self.token else self.signed(header_, claims)
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": token}

    def signed(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        registry = JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
        return jwt.encode(header, claims, self.key, registry=registry)

    def reads(self, path: str) -> int:
        """How often a path was asked for."""
        return self.asked.count(REALM + path)


class Answering(BaseHTTPRequestHandler):
    """One request."""

    provider: Provider
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer({})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        self._answer({name: values[0] for name, values in parse_qs(body).items()})

    def _answer(self, form: dict[str, str]) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path, there = parts.path, self.provider
        there.asked.append(path)
        name = path.removeprefix(REALM)
        if name in there.special:
            there.special[name](self)
        elif name == "/.well-known/openid-configuration":
            self.says(200, there.discovery())
        elif name == "/certs":
            self.says(200, {"keys": [key.as_dict(private=False) for key in there.published]})
        elif name == "/token":
            self.says(*there.tokens(form, self.headers.get("authorization")))
        elif name == "/authorize" and there.interactive and "yes" not in query:
            link = f"{self.path}&yes=1".replace("&", "&amp;")
            self.page(f"<title>IdP</title><h1>병원 통합 로그인</h1><a id=yes href='{link}'>김판독으로 로그인</a>")
        elif name == "/authorize":
            self.goes(there.authorized(query))
        elif name == "/logout":
            there.left.append(query)
            self.goes(query["post_logout_redirect_uri"])
        elif path == "/favicon.ico":
            self.sends(204, b"", "image/png")
        else:
            self.says(404, {"error": "not_found"})

    def says(self, status: int, told: Any) -> None:
        self.sends(status, json.dumps(told).encode(), "application/json")

    def page(self, body: str) -> None:
        self.sends(200, body.encode(), "text/html; charset=utf-8")

    def goes(self, to: str) -> None:
        self.sends(303, b"", "text/plain", location=to)

    def sends(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


def authority(path: Path) -> ssl.SSLContext:
    """A certificate for 127.0.0.1 that vouches for itself, written to a file; how a server presents it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test authority")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(made.public_bytes(pem))
    both = path.with_suffix(".both")
    both.write_bytes(secret + made.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context


@contextmanager
def provider(tls: ssl.SSLContext | None = None) -> Iterator[Provider]:
    """A provider that answers on a free port of loopback."""

    class Here(Answering):
        pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """The hub hangs up on some faults, which is no fault of the test."""

    server = Server(("127.0.0.1", 0), Here)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    Here.provider = Provider(server.server_address[1], "https" if tls else "http")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield Here.provider
    server.shutdown()
    server.server_close()
