"""The identity provider, asked: its document, its keys, where people are sent, and a code exchanged for an identity.

Authorization code flow of OpenID Connect with PKCE (RFC 7636) and the issuer in the answer (RFC 9207). No token of the
provider is kept but the ID token of an open session, which signing out shows it again.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from chambit.hub.oidc import Oidc
from chambit.hub.refusals import HubError

BACK, OUT = "/oidc/back", "/login"
"""Where the provider sends people back to, after signing in and after signing out."""
KEPT = 3600.0
"""Seconds for which the provider's document and keys are used without asking again."""
DOCUMENT = "/.well-known/openid-configuration"
NEEDED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
TOLD = ("invalid_grant", "invalid_client", "unauthorized_client", "invalid_request")
"""Refusals of a provider that are repeated by name."""
Result = TypeVar("Result")


class ProviderError(HubError):
    """The provider does not answer, or answers what cannot be used; nobody can be signed in through it now."""

    def __init__(self, ko: str, en: str) -> None:
        super().__init__(
            f"병원 계정 제공자를 지금 이용할 수 없습니다: {ko}. 잠시 뒤에 다시 하거나 관리자에게 알려 주십시오.",
            f"The identity provider cannot be used now: {en}. Try again later, or tell an administrator.",
        )
        self.why = en


class UntrueError(HubError):
    """What came back is no answer to what this hub asked, or is not from its provider."""

    def __init__(self, ko: str, en: str) -> None:
        super().__init__(
            f"로그인 응답을 믿을 수 없어 받아들이지 않았습니다: {ko}. 처음부터 다시 로그인해 주십시오.",
            f"The answer of the sign-in is not to be believed and was not taken: {en}. Sign in again from the start.",
        )
        self.why = en


class BrokenOffError(HubError):
    """The provider did not sign the person in."""

    def __init__(self) -> None:
        super().__init__(
            "제공자에서 로그인이 끝나지 않았습니다. 다시 시도해 주십시오.",
            "You were not signed in at the provider. Try again.",
        )
        self.why = "not signed in at the provider"


class Identity(NamedTuple):
    """A person as the provider knows one: issuer and subject are who it is, all else is only said.

    Attributes:
        issuer: of the provider.
        subject: the provider's own name of the person, which never changes.
        name: as colleagues know the person, '' where it is not said.
        login: what an account's login may begin with, '' where it is not said.
        suggested: roles that the settings suggest for the claims.
        token: the ID token.
    """

    issuer: str
    subject: str
    name: str
    login: str
    suggested: tuple[str, ...]
    token: str


class Question(NamedTuple):
    """What belongs to one journey to the provider and must fit what comes back."""

    state: str
    nonce: str
    verifier: str
    since: float


class Provider:
    """The provider of the settings; what it publishes is kept for an hour.

    Each of the three acts takes no longer than `settings.wait`, whatever the provider does, and raises `ProviderError`
    when it does not answer in time or not as it should.

    Args:
        settings: of the provider.
        address: how people reach the hub.
        folder: of the hub, beside which secret and certificate stand.
    """

    def __init__(self, settings: Oidc, address: str, folder: Path) -> None:
        self.settings, self.address, self.folder = settings, address.rstrip("/"), folder
        self._way: Any = None
        self._document: tuple[float, dict[str, Any]] | None = None
        self._keys: tuple[float, Any] | None = None

    def question(self, asked: Question, afresh: bool = False) -> str:
        """Where a person is sent to sign in; `afresh` asks the provider not to rely on an earlier sign-in."""
        document = self._within(self._published)
        more = {"prompt": "login"} if afresh else {}
        url, _ = self._client(code_challenge_method="S256").create_authorization_url(
            document["authorization_endpoint"], state=asked.state, nonce=asked.nonce, code_verifier=asked.verifier,
            redirect_uri=self.address + BACK, scope=self.settings.scope, **more,
        )  # fmt: skip
        return str(url)

    def identity(self, answer: Mapping[str, str], asked: Question) -> Identity:
        """Who came back: the code of the answer is exchanged for an ID token, and that is checked.

        Raises:
            BrokenOffError: when the provider says that it signed nobody in.
            UntrueError: when the answer or the token is not what was asked for.
        """
        return self._within(lambda: self._identity(answer, asked))

    def leaving(self, token: str) -> str:
        """Where a person with this ID token is sent to sign out, '' where the provider offers nothing of the kind."""
        from authlib.common.urls import add_params_to_uri

        end = self._within(self._published).get("end_session_endpoint")
        given = [
            ("client_id", self.settings.client),
            ("id_token_hint", token),
            ("post_logout_redirect_uri", self.address + OUT),
        ]
        return str(add_params_to_uri(end, given)) if end else ""

    def _identity(self, answer: Mapping[str, str], asked: Question) -> Identity:
        document = self._published()
        said = answer.get("iss", "")
        if said and said != self.settings.issuer:
            raise UntrueError("다른 발급자의 것입니다", "it is of another issuer")
        if not said and document.get("authorization_response_iss_parameter_supported") is True:
            raise UntrueError("발급자를 밝히지 않았습니다", "it does not say its issuer")
        if answer.get("error") or not answer.get("code"):
            raise BrokenOffError
        tokens = self._exchanged(document, answer["code"], asked)
        return self._person(self._believed(tokens, asked), tokens["id_token"])

    def _exchanged(self, document: Mapping[str, Any], code: str, asked: Question) -> dict[str, str]:
        """The tokens for a code."""
        from authlib.integrations.base_client import OAuthError

        methods = document.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        # in a form the secret's letters are beyond doubt; in the header, providers read '%' and '+' differently
        method = next((one for one in ("client_secret_post", "client_secret_basic") if one in methods), None)
        client = self._client(client_secret=self.settings.secret.read(self.folder), token_endpoint_auth_method=method)
        try:
            tokens = client.fetch_token(
                document["token_endpoint"], grant_type="authorization_code", code=code,
                code_verifier=asked.verifier, redirect_uri=self.address + BACK,
            )  # fmt: skip
        except OAuthError as refused:
            why = refused.error if refused.error in TOLD else "error"
            raise UntrueError(
                f"제공자가 코드를 받지 않습니다({why})", f"the provider does not take the code ({why})"
            ) from None
        except ValueError:
            raise ProviderError("토큰을 읽을 수 없습니다", "its tokens cannot be read") from None
        found = {name: tokens[name] for name in ("id_token", "access_token") if isinstance(tokens.get(name), str)}
        if "id_token" not in found:
            raise UntrueError("ID 토큰이 없습니다", "it brings no ID token")
        return found

    def _believed(self, tokens: Mapping[str, str], asked: Question) -> dict[str, Any]:
        """The claims of the ID token, when it holds."""
        from chambit.hub import idtoken

        wanted = idtoken.Wanted(
            self.settings.issuer, self.settings.client, asked.nonce, self.settings.algorithms, asked.since,
            tokens.get("access_token", ""),
        )  # fmt: skip
        try:
            try:
                return idtoken.checked(tokens["id_token"], self._known_keys(), wanted)
            except idtoken.UnknownKeyError:  # the provider may have changed its keys since they were read
                return idtoken.checked(tokens["id_token"], self._known_keys(again=True), wanted)
        except idtoken.TokenError as error:
            raise UntrueError(f"ID 토큰의 {error.ko}", f"ID token: {error.en}") from None

    def _person(self, claims: Mapping[str, Any], token: str) -> Identity:
        given = self.settings.suggest
        values = claims.get(given.claim) if given else None
        held = values if isinstance(values, list) else [values]
        roles = [role for one in held if given and isinstance(one, str) for role in given.roles.get(one, ())]
        name, login = (claims.get(one) for one in (self.settings.person, self.settings.login))
        return Identity(
            self.settings.issuer, claims["sub"], name if isinstance(name, str) else "",
            login if isinstance(login, str) else "", tuple(dict.fromkeys(roles)), token,
        )  # fmt: skip

    def _published(self) -> dict[str, Any]:
        """The provider's document, each address in it looked at."""
        from chambit.hub import outgoing

        if self._document and time.monotonic() - self._document[0] < KEPT:
            return self._document[1]
        found = self._read(self.settings.issuer.rstrip("/") + DOCUMENT)
        if found.get("issuer") != self.settings.issuer:
            raise ProviderError(
                "설정 문서의 issuer가 hub.yaml과 다릅니다", "its document names another issuer than hub.yaml"
            )
        lacking = ", ".join(name for name in NEEDED if not isinstance(found.get(name), str))
        if lacking:
            raise ProviderError(f"설정 문서에 {lacking}이(가) 없습니다", f"its document lacks {lacking}")
        for name in (*NEEDED, "end_session_endpoint"):
            if found.get(name):
                outgoing.fitting(found[name], self.settings)
        self._document = (time.monotonic(), found)
        return found

    def _known_keys(self, again: bool = False) -> Any:
        from chambit.hub import idtoken

        if not self._keys or again or time.monotonic() - self._keys[0] >= KEPT:
            listed = self._read(self._published()["jwks_uri"])
            try:
                self._keys = (time.monotonic(), idtoken.keys_of(listed))
            except idtoken.TokenError as error:
                raise ProviderError(error.ko, error.en) from None
        return self._keys[1]

    def _read(self, url: str) -> dict[str, Any]:
        answer = self._client().request("GET", url, withhold_token=True)
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.status_code != 200 or not isinstance(found, dict):
            raise ProviderError(
                f"{url}이(가) JSON이 아닌 {answer.status_code} 응답을 합니다",
                f"{url} answers {answer.status_code}, and not with a JSON object",
            )
        return found

    def _within(self, work: Callable[[], Result]) -> Result:
        from chambit.hub import outgoing

        try:
            return outgoing.within(self.settings.wait, work)
        except outgoing.UnreachedError as error:
            raise ProviderError(error.ko, error.en) from None

    def _client(self, **given: Any) -> Any:
        """A client of its own for each journey, so that no token of a person is there for the next."""
        from authlib.integrations.httpx_client import OAuth2Client

        from chambit.hub import outgoing

        self._way = self._way or outgoing.Way(self.settings, self.folder)
        return OAuth2Client(self.settings.client, transport=self._way, trust_env=False, follow_redirects=False, **given)
