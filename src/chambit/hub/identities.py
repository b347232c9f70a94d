"""Who comes through an identity provider: journeys to it, accounts that wait to be admitted, accounts that are tied.

An account is known by issuer and subject alone; a name, an address or a group that a provider tells opens nothing. An
unknown person becomes an account that waits, and an administrator admits it and gives it roles.
"""

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import sqlalchemy as sql

from chambit.core import digest
from chambit.hub import accounts, trail
from chambit.hub.accounts import Account
from chambit.hub.database import Database
from chambit.hub.hub import Hub
from chambit.hub.provider import BrokenOffError, Identity, Provider, ProviderError, Question, UntrueError
from chambit.hub.refusals import HubError, NotThereError
from chambit.hub.sessions import Session
from chambit.hub.tables import account, departure

JOURNEY = 600.0
"""Seconds within which a person must be back from the provider."""
LONGEST_NAME, LONGEST_LOGIN = 120, 80


class WaitingError(HubError):
    """The person is known now, and an administrator has yet to admit the account."""


class Departure(NamedTuple):
    """A journey that begins: where the person is sent, and what only this browser may bring back."""

    url: str
    browser: str


class Arrival(NamedTuple):
    """A journey that ended: who came, where the person was going, and the session that wants to be tied, or ''."""

    identity: Identity
    to: str
    session: str


def depart(hub: Hub, to: str, session: Session | None = None) -> Departure:
    """Begin a journey to the provider; with a session it ends in `connect`.

    Raises:
        ProviderError: when the provider cannot be used.
        HubError: when no account could be admitted yet, or this one may not be tied.
    """
    provider = _provider(hub)
    if not accounts.count(hub.database):
        raise HubError(
            "먼저 서버를 켠 사람이 첫 계정(관리자)을 만들어야 합니다.",
            "Whoever started the server makes the first account, the administrator, before anybody else comes in.",
        )
    if session is not None:
        _may_connect(session.account)
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    asked = Question(state, nonce, verifier, time.time())
    browser = secrets.token_urlsafe(32)
    url = provider.question(asked, afresh=session is not None)
    row = {
        "state": _hashed(asked.state), "browser": _hashed(browser), "issuer": provider.settings.issuer,
        "nonce": asked.nonce, "verifier": asked.verifier, "to": to, "session": session.key if session else None,
        "left": asked.since,
    }  # fmt: skip
    with hub.database.writing() as connection:
        connection.execute(departure.delete().where(departure.c.left < asked.since - JOURNEY))
        connection.execute(departure.insert().values(**row))
    return Departure(url, browser)


def arrive(hub: Hub, answer: Mapping[str, str], browser: str, now: float | None = None) -> Arrival:
    """End a journey, whatever comes of it; an answer that this hub did not ask for is not even looked at.

    Raises:
        UntrueError: when no such journey of this browser is under way, or the answer is not to be believed.
        BrokenOffError: when the provider signed nobody in.
        ProviderError: when the provider cannot be used.
    """
    provider = _provider(hub)
    now = time.time() if now is None else now
    state = answer.get("state", "")
    with hub.database.writing() as connection:
        taken = departure.delete().where(departure.c.state == _hashed(state)).returning(departure)
        row = connection.execute(taken).first()  # one statement: of several workers one has it
    if row is None or now - row.left > JOURNEY or row.issuer != provider.settings.issuer:
        raise UntrueError(
            "이 로그인은 이미 쓰였거나 오래되었습니다",
            "this sign-in was used already, is too old, or was not begun here",
        )
    if not secrets.compare_digest(row.browser, _hashed(browser)):
        raise _refused(hub, UntrueError("다른 브라우저에서 시작되었습니다", "it was begun in another browser"))
    try:
        identity = provider.identity(answer, Question(state, row.nonce, row.verifier, row.left))
    except (UntrueError, BrokenOffError, ProviderError) as error:
        raise _refused(hub, error) from None
    return Arrival(identity, row.to, row.session or "")


def account_of(hub: Hub, identity: Identity) -> Account:
    """The account of a person who came; an unknown one gets an account that waits.

    Raises:
        WaitingError: when the account is not admitted yet.
        HubError: when it is shut.
    """
    found = _of(hub.database, identity) or _newcomer(hub.database, identity)
    if found.disabled:
        raise _refused(
            hub,
            HubError("닫힌 계정입니다. 관리자에게 문의해 주십시오.", "This account is shut. Ask an administrator."),
            found.id,
        )
    if found.waiting:
        raise WaitingError(
            f"관리자의 승인을 기다리고 있습니다({found.login}). 승인되면 다시 로그인해 주십시오.",
            f"Your account ({found.login}) waits for an administrator to admit it. Sign in again after that.",
        )
    return found


def connect(hub: Hub, session: Session, arrival: Arrival) -> None:
    """Tie the account of a session to the identity that came back to that same session.

    An account of that identity that still waits is shut: its person has this one.

    Raises:
        HubError: when the journey began in another session, or the identity has an account already.
    """
    if not arrival.session or not secrets.compare_digest(arrival.session, session.key):
        raise _refused(
            hub, UntrueError("다른 세션에서 시작되었습니다", "it was begun in another session"), session.account.id
        )
    who, identity = session.account.id, arrival.identity
    other = _of(hub.database, identity)
    if other is not None and not other.waiting:
        raise HubError(
            "이 병원 계정은 이미 다른 계정에 연결되어 있습니다. 관리자에게 문의해 주십시오.",
            "This identity is tied to another account. Ask an administrator.",
        )
    _may_connect(accounts.by_id(hub.database, [who])[who])
    try:
        with hub.database.writing() as connection:
            if other is not None:
                gone = {"issuer": None, "subject": None, "waiting": False, "disabled": True}
                still = (account.c.id == other.id) & account.c.waiting  # else the identity stays with it
                connection.execute(account.update().where(still).values(**gone))
                trail.append(connection, who, "account.changed", other.id, {"disabled": True, "instead": who})
            tied = {"issuer": identity.issuer, "subject": identity.subject, "connectable": False}
            connection.execute(account.update().where(account.c.id == who).values(**tied))
            trail.append(connection, who, "account.tied", who, _told(identity.issuer, identity.subject))
    except sql.exc.IntegrityError:
        raise HubError(
            "이 병원 계정은 방금 다른 계정에 연결되었습니다.", "This identity was just tied to another account."
        ) from None


def let_connect(database: Database, by: str, who: str) -> None:
    """Let the person of an account tie it to an identity, once; the person proves to be both."""
    with database.writing() as connection:
        if not connection.execute(account.update().where(account.c.id == who).values(connectable=True)).rowcount:
            raise accounts.nobody()
        trail.append(connection, by, "account.connectable", who, {})


def untie(database: Database, by: str, who: str) -> None:
    """Take the tie of an account to its identity away.

    Raises:
        HubError: when nobody could sign in to it any more, because it has no password.
    """
    found = accounts.by_id(database, [who]).get(who)
    if found is None:
        raise accounts.nobody()
    if not found.password:
        raise HubError(
            "비밀번호가 없는 계정입니다. 먼저 비밀번호를 주십시오.", "The account has no password. Set one first."
        )
    with database.writing() as connection:
        connection.execute(account.update().where(account.c.id == who).values(issuer=None, subject=None))
        trail.append(connection, by, "account.untied", who, _told(found.issuer, found.subject))


def admit(database: Database, by: str, who: str, roles: Sequence[str]) -> None:
    """Let a waiting account in, with the roles that the administrator gives it.

    Raises:
        HubError: when the roles cannot be given, or the account waits no longer.
    """
    kept = list(accounts.roles_of(roles))
    waits = account.c.waiting & ~account.c.disabled
    with database.writing() as connection:
        values = {"waiting": False, "roles": kept}
        if not connection.execute(account.update().where(account.c.id == who, waits).values(**values)).rowcount:
            raise HubError("승인을 기다리는 계정이 아닙니다.", "This account does not wait to be admitted.")
        trail.append(connection, by, "account.admitted", who, {"roles": kept})


def by_password(hub: Hub, login: str, password: str) -> Account:
    """The account of a login and password, where the settings let it come in that way; raises as `authenticated`.

    Raises:
        HubError: also when people come through the provider alone; administrators always may use their password.
    """
    owner = accounts.authenticated(hub.database, login, password)
    if hub.settings.oidc and not hub.settings.oidc.passwords and not owner.has("administrator"):
        raise HubError(
            "이 병원은 비밀번호 로그인을 쓰지 않습니다. 병원 계정으로 로그인해 주십시오.",
            "Passwords are not used here. Sign in with the hospital's account.",
        )
    return owner


def leaving(hub: Hub, session: Session) -> str:
    """Where a person who signs out goes on to, to be signed out of the provider as well; '' where there is nowhere.

    A provider that does not answer keeps nobody from signing out here.
    """
    if hub.provider is None or not session.id_token:
        return ""
    try:
        return hub.provider.leaving(session.id_token)
    except ProviderError:
        return ""


def _provider(hub: Hub) -> Provider:
    if hub.provider is None:
        raise NotThereError(
            "이 허브에는 병원 계정 제공자가 설정되어 있지 않습니다.", "This hub has no identity provider."
        )
    return hub.provider


def _of(database: Database, identity: Identity) -> Account | None:
    query = sql.select(account.c.id).where(account.c.issuer == identity.issuer, account.c.subject == identity.subject)
    with database.reading() as connection:
        row = connection.execute(query).first()
    return accounts.by_id(database, [row.id])[row.id] if row else None


def _newcomer(database: Database, identity: Identity) -> Account:
    """An account without a role that waits to be admitted."""
    who = secrets.token_hex(6)
    wanted, sure = _logins(identity)
    name = " ".join(identity.name.split())[:LONGEST_NAME]
    for login in (wanted, sure):
        values = {
            "id": who, "login": login, "name": name or login, "roles": [], "created": time.time(), "waiting": True,
            "issuer": identity.issuer, "subject": identity.subject, "suggested": list(identity.suggested),
        }  # fmt: skip
        try:
            with database.writing() as connection:
                connection.execute(account.insert().values(**values))
                told = _told(identity.issuer, identity.subject) | {"suggested": list(identity.suggested)}
                trail.append(connection, trail.HUB, "account.waiting", who, told)
        except sql.exc.IntegrityError:  # the login is another's, or the same person came twice at once
            there = _of(database, identity)
            if there is not None:
                return there
            continue
        return accounts.by_id(database, [who])[who]
    raise HubError(
        "계정을 만들지 못했습니다. 관리자에게 알려 주십시오.", "No account could be made. Tell an administrator."
    )


def _logins(identity: Identity) -> tuple[str, str]:
    """Two logins for a new account: the one that reads well, and one that nobody else has.

    Both end in the provider's host, so that nobody is taken for a local account of the same name.
    """
    host = "@" + identity.issuer.split("//", 1)[1].split("/", 1)[0].replace(":", "-").replace("[", "").replace("]", "")
    sure = digest.of_json([identity.issuer, identity.subject])[:16] + host[:60]
    try:
        return accounts.login_of(identity.login.split("@")[0] + host), sure
    except HubError:
        return sure, sure


def _may_connect(owner: Account) -> None:
    if owner.issuer:
        raise HubError("이 계정은 이미 병원 계정에 연결되어 있습니다.", "This account is tied to an identity already.")
    if not owner.connectable and not owner.has("administrator"):
        raise HubError(
            "관리자가 이 계정의 연결을 허용하면 할 수 있습니다.",
            "An administrator must first let this account be connected.",
        )


def _refused(hub: Hub, error: HubError, who: str = "") -> HubError:
    """Tell the trail of a journey that was refused, and hand the refusal back."""
    with hub.database.writing() as connection:
        trail.append(connection, trail.HUB, "session.refused", who, {"why": getattr(error, "why", error.en)})
    return error


def _told(issuer: str, subject: str) -> dict[str, str]:
    """What the trail keeps of an identity: enough to find a changed tie, and no name."""
    return {"issuer": issuer, "identity": digest.of_json([issuer, subject])}


def _hashed(token: str) -> str:
    return digest.of_bytes(token.encode())
