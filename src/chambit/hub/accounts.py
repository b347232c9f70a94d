"""Accounts of a hub: roles, passwords (Argon2id, RFC 9106), a second factor (TOTP, RFC 6238), outside identities.

Who comes through an identity provider is `chambit.hub.identities`. After a few failures an account waits longer and
longer; an unknown login takes as long to refuse as a wrong password.
"""

import secrets
import time
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sql

from chambit.hub import trail
from chambit.hub.database import Database
from chambit.hub.refusals import HubError, NotThereError
from chambit.hub.tables import account

ROLES = ("administrator", "steward", "generator", "inspector", "reader", "member", "approver", "consumer")
"""What an account may be. An administrator makes accounts and sees no study."""
SHORTEST = 12
LONGEST = 200
PATIENCE = 5
"""Wrong passwords before an account has to wait."""
FIRST_WAIT, LONGEST_WAIT = 30.0, 3600.0
ISSUER = "Chambit"
STEP = 30
"""Seconds of a code of the second factor."""


class Account(NamedTuple):
    """A person who may come in: nothing of it is secret.

    Attributes:
        id: of the account.
        login: its name for signing in.
        name: as colleagues know the person.
        roles: some of `ROLES`; none while it waits.
        disabled: shut by an administrator.
        second: whether a second factor is in force.
        password: whether it has one of its own.
        issuer: of the identity that it is tied to, '' where it is tied to none.
        subject: of that identity.
        waiting: whether an administrator has yet to admit it.
        connectable: whether an administrator lets its person tie it to an identity.
        suggested: roles that the provider's claims suggested when it came.
        created: when, in seconds since 1970.
    """

    id: str
    login: str
    name: str
    roles: tuple[str, ...]
    disabled: bool
    second: bool
    password: bool
    issuer: str
    subject: str
    waiting: bool
    connectable: bool
    suggested: tuple[str, ...]
    created: float

    def has(self, *roles: str) -> bool:
        """Whether the account has one of these roles."""
        return bool(set(roles) & set(self.roles))


def count(database: Database) -> int:
    """How many accounts there are."""
    with database.reading() as connection:
        return int(connection.execute(sql.select(sql.func.count()).select_from(account)).scalar_one())


def listed(database: Database) -> list[Account]:
    """All accounts by login."""
    with database.reading() as connection:
        return [_account(row) for row in connection.execute(sql.select(account).order_by(account.c.login))]


def by_id(database: Database, ids: Collection[str]) -> dict[str, Account]:
    """Accounts by their ids; unknown ids are left out."""
    with database.reading() as connection:
        rows = connection.execute(sql.select(account).where(account.c.id.in_(list(ids))))
        return {row.id: _account(row) for row in rows}


def create(
    database: Database, by: str, login: str, name: str, roles: Sequence[str], password: str | None = None
) -> Account:
    """Make an account.

    Args:
        database: of the hub.
        by: id of the administrator, or `trail.HUB` for the first account.
        login: 2 to 80 letters, digits, dots, dashes, underscores and at signs; case does not count.
        name: as colleagues know the person.
        roles: some of `ROLES`.
        password: None for an account that nobody signs in to yet.

    Raises:
        HubError: when the login is taken or not of that form, a role is unknown, or the password is too weak.
    """
    login = login_of(login)
    name = " ".join(name.split())
    if not 1 <= len(name) <= 120:
        raise HubError("이름은 1~120자로 적어 주십시오.", "Give a name of 1 to 120 characters.")
    kept = roles_of(roles)
    hashed = None if password is None else _hash(checked(password, login))
    who = secrets.token_hex(6)
    try:
        with database.writing() as connection:
            connection.execute(
                account.insert().values(
                    id=who, login=login, name=name, roles=list(kept), password=hashed, created=time.time()
                )
            )
            trail.append(connection, by, "account.made", who, {"roles": list(kept)})
    except sql.exc.IntegrityError:
        raise HubError(f"'{login}' 계정이 이미 있습니다.", f"There is an account '{login}' already.") from None
    return by_id(database, [who])[who]


def change(
    database: Database, by: str, who: str, roles: Sequence[str] | None = None, disabled: bool | None = None
) -> None:
    """Give an account other roles, or shut or open it. Its sessions end with `sessions.end_all`."""
    values: dict[str, Any] = {} if roles is None else {"roles": list(roles_of(roles))}
    values |= {} if disabled is None else {"disabled": disabled}
    with database.writing() as connection:
        if not connection.execute(account.update().where(account.c.id == who).values(**values)).rowcount:
            raise nobody()
        trail.append(connection, by, "account.changed", who, values)


def set_password(database: Database, by: str, who: str, password: str) -> None:
    """Give an account a new password and let it try again at once."""
    with database.writing() as connection:
        row = connection.execute(sql.select(account.c.login).where(account.c.id == who)).first()
        if row is None:
            raise nobody()
        hashed = _hash(checked(password, row.login))
        connection.execute(
            account.update().where(account.c.id == who).values(password=hashed, failures=0, locked_until=0.0)
        )
        trail.append(connection, by, "account.password", who, {})


def checked(password: str, login: str) -> str:
    """The password in one Unicode form, when it may be used.

    Raises:
        HubError: when it is shorter than 12 or longer than 200 characters, holds the login, or repeats itself.
    """
    password = unicodedata.normalize("NFKC", password)
    if not SHORTEST <= len(password) <= LONGEST:
        raise HubError(
            f"비밀번호는 {SHORTEST}~{LONGEST}자로 정해 주십시오. 문장도 좋습니다.",
            f"Choose a password of {SHORTEST} to {LONGEST} characters; a sentence is fine.",
        )
    if login in password.lower() or len(set(password)) < 5:
        raise HubError(
            "비밀번호에 계정 이름이 들어 있거나 같은 글자가 되풀이됩니다. 다른 것으로 정해 주십시오.",
            "The password holds the login or repeats itself. Choose another.",
        )
    return password


def authenticated(database: Database, login: str, password: str, now: float | None = None) -> Account:
    """The account of a login and password.

    Raises:
        HubError: with one sentence for a wrong password, an unknown login and a shut account alike; with the seconds to
            wait after too many failures.
    """
    now = time.time() if now is None else now
    with database.reading() as connection:
        row = connection.execute(sql.select(account).where(account.c.login == login.strip().lower())).first()
    if row is not None and row.locked_until > now:
        wait = row.locked_until - now
        raise HubError(
            f"여러 번 틀렸습니다. {wait:.0f}초 뒤에 다시 시도해 주십시오.",
            f"Too many wrong tries. Try again in {wait:.0f} seconds.",
            wait,
        )
    hashed = row.password if row is not None and row.password else _nobodys()
    right = _verifies(hashed, unicodedata.normalize("NFKC", password))
    if row is None or not right or not row.password or row.disabled or row.waiting:
        if row is not None:
            _failed(database, row, now)
        raise HubError("계정 또는 비밀번호가 맞지 않습니다.", "The login or the password is wrong.")
    values: dict[str, Any] = {"failures": 0, "locked_until": 0.0}
    if _hasher().check_needs_rehash(row.password):
        values["password"] = _hash(unicodedata.normalize("NFKC", password))
    if row.failures or "password" in values:
        with database.writing() as connection:
            connection.execute(account.update().where(account.c.id == row.id).values(**values))
    return _account(row)


def new_secret(database: Database, who: str) -> tuple[str, str]:
    """A secret for the second factor, not yet in force, and the address that an authenticator app reads."""
    import pyotp

    owner = by_id(database, [who]).get(who)
    if owner is None:
        raise nobody()
    secret = pyotp.random_base32()
    return secret, pyotp.TOTP(secret, interval=STEP).provisioning_uri(name=owner.login, issuer_name=ISSUER)


def enrol(database: Database, who: str, secret: str, code: str) -> None:
    """Put a second factor in force once the app has shown that it knows the secret.

    Raises:
        HubError: when the code is not one of the secret.
    """
    import pyotp

    if not pyotp.TOTP(secret, interval=STEP).verify(code.strip(), valid_window=1):
        raise _wrong_code()
    with database.writing() as connection:
        connection.execute(account.update().where(account.c.id == who).values(totp=secret, totp_last=0))
        trail.append(connection, who, "account.second", who, {"in force": True})


def dismiss(database: Database, by: str, who: str) -> None:
    """Take the second factor of an account away, for a lost device."""
    with database.writing() as connection:
        connection.execute(account.update().where(account.c.id == who).values(totp=None))
        trail.append(connection, by, "account.second", who, {"in force": False})


def second_right(database: Database, who: str, code: str, now: float | None = None) -> None:
    """Take a code of the second factor; each is good once.

    Raises:
        HubError: when it is wrong or was used.
    """
    import pyotp

    now = time.time() if now is None else now
    with database.writing() as connection:
        row = connection.execute(sql.select(account).where(account.c.id == who)).first()
        if row is None or row.totp is None:
            raise nobody()
        if row.locked_until > now:
            raise HubError(
                "여러 번 틀렸습니다. 잠시 뒤에 다시 시도해 주십시오.",
                "Too many wrong tries. Try again later.",
                row.locked_until - now,
            )
        known = pyotp.TOTP(row.totp, interval=STEP)
        for at in (int(now) // STEP + move for move in (-1, 0, 1)):
            if at > row.totp_last and secrets.compare_digest(known.generate_otp(at), code.strip()):
                connection.execute(account.update().where(account.c.id == who).values(totp_last=at, failures=0))
                return
    _failed(database, row, now)
    raise _wrong_code()


def _failed(database: Database, row: Any, now: float) -> None:
    failures = row.failures + 1
    wait = 0.0 if failures < PATIENCE else min(FIRST_WAIT * 2 ** (failures - PATIENCE), LONGEST_WAIT)
    with database.writing() as connection:
        connection.execute(
            account.update().where(account.c.id == row.id).values(failures=failures, locked_until=now + wait)
        )
        if wait:
            trail.append(connection, trail.HUB, "account.waits", row.id, {"failures": failures, "seconds": wait})


def login_of(login: str) -> str:
    """A login in its one form.

    Raises:
        HubError: when it is not 2 to 80 letters, digits, dots, dashes, underscores and at signs.
    """
    login = login.strip().lower()
    if not 2 <= len(login) <= 80 or not all(sign.isalnum() or sign in "._-@" for sign in login):
        raise HubError(
            "계정 이름은 글자·숫자·점·밑줄·하이픈·@만 써서 2~80자로 정해 주십시오.",
            "Choose a login of 2 to 80 letters, digits, dots, dashes, underscores and at signs.",
        )
    return login


def roles_of(roles: Sequence[str]) -> tuple[str, ...]:
    """The roles in their order, when one account may have them together.

    Raises:
        HubError: when there is none, one is unknown, or an administrator would have others.
    """
    if not roles or set(roles) - set(ROLES):
        raise HubError("역할을 하나 이상 골라 주십시오.", f"Choose one or more roles of: {', '.join(ROLES)}.")
    if "administrator" in roles and len(set(roles)) > 1:
        raise HubError(
            "관리자 계정은 다른 역할을 겸할 수 없습니다. 계정을 하나 더 만들어 주십시오.",
            "An administrator has no other role. Make a second account.",
        )
    return tuple(role for role in ROLES if role in roles)


def nobody() -> NotThereError:
    """What is said of an account that is not there."""
    return NotThereError("그런 계정이 없습니다.", "There is no such account.")


def _wrong_code() -> HubError:
    return HubError("인증 코드가 맞지 않습니다. 새 코드를 넣어 주십시오.", "The code is wrong. Enter a new one.")


def _account(row: Any) -> Account:
    return Account(
        row.id, row.login, row.name, tuple(row.roles), bool(row.disabled), row.totp is not None,
        row.password is not None, row.issuer or "", row.subject or "", bool(row.waiting), bool(row.connectable),
        tuple(row.suggested), row.created,
    )  # fmt: skip


@cache
def _hasher() -> Any:
    from argon2 import PasswordHasher

    return PasswordHasher()  # Argon2id at the second recommendation of RFC 9106: 64 MiB, 3 passes, 4 lanes


def _hash(password: str) -> str:
    hashed: str = _hasher().hash(password)
    return hashed


@cache
def _nobodys() -> str:
    """A hash to try where there is no account, so that both take the same time."""
    return _hash(secrets.token_hex(16))


def _verifies(hashed: str, password: str) -> bool:
    from argon2.exceptions import VerificationError

    try:
        return bool(_hasher().verify(hashed, password))
    except VerificationError:
        return False


def public(account_: Account) -> Mapping[str, Any]:
    """What the person is told of the own account."""
    return {"login": account_.login, "name": account_.name, "roles": list(account_.roles), "second": account_.second}
