"""Accounts, sessions, the trail, studies with their candidates and the parts people have in them."""

import sqlalchemy as sql
from alembic import op

from chambit.hub.migrations.keeping import only_added_to

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first tables; rows of the trail can be added and never changed or taken away."""
    op.create_table(
        "account",
        sql.Column("id", sql.String(16), primary_key=True),
        sql.Column("login", sql.String(80), nullable=False, unique=True),
        sql.Column("name", sql.String(120), nullable=False),
        sql.Column("roles", sql.JSON, nullable=False),
        sql.Column("password", sql.String(200)),
        sql.Column("totp", sql.String(64)),
        sql.Column("totp_last", sql.BigInteger, nullable=False, server_default="0"),
        sql.Column("issuer", sql.String(200)),
        sql.Column("subject", sql.String(200)),
        sql.Column("created", sql.Float(53), nullable=False),
        sql.Column("disabled", sql.Boolean, nullable=False, server_default=sql.false()),
        sql.Column("failures", sql.Integer, nullable=False, server_default="0"),
        sql.Column("locked_until", sql.Float(53), nullable=False, server_default="0"),
        sql.UniqueConstraint("issuer", "subject", name="one_account_for_an_identity"),
    )
    op.create_table(
        "session",
        sql.Column("token", sql.String(64), primary_key=True),
        sql.Column("account", sql.String(16), sql.ForeignKey("account.id"), nullable=False, index=True),
        sql.Column("csrf", sql.String(64), nullable=False),
        sql.Column("created", sql.Float(53), nullable=False),
        sql.Column("seen", sql.Float(53), nullable=False),
        sql.Column("complete", sql.Boolean, nullable=False),
    )
    op.create_table(
        "event",
        sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
        sql.Column("time", sql.Float(53), nullable=False),
        sql.Column("actor", sql.String(16), nullable=False, index=True),
        sql.Column("kind", sql.String(60), nullable=False, index=True),
        sql.Column("about", sql.String(80), nullable=False, index=True),
        sql.Column("body", sql.Text, nullable=False),
        sql.Column("previous", sql.String(64), nullable=False),
        sql.Column("hash", sql.String(64), nullable=False),
    )
    op.create_table(
        "study",
        sql.Column("id", sql.String(60), primary_key=True),
        sql.Column("folder", sql.Text, nullable=False, unique=True),
        sql.Column("title", sql.Text, nullable=False),
        sql.Column("state", sql.String(20), nullable=False),
        sql.Column("candidate", sql.String(64), nullable=False),
        sql.Column("created", sql.Float(53), nullable=False),
        sql.Column("changed", sql.Float(53), nullable=False),
    )
    op.create_table(
        "candidate",
        sql.Column("study", sql.String(60), sql.ForeignKey("study.id"), primary_key=True),
        sql.Column("digest", sql.String(64), primary_key=True),
        sql.Column("evidence", sql.String(64), nullable=False),
        sql.Column("registered", sql.String(64), nullable=False),
        sql.Column("policy", sql.JSON, nullable=False),
        sql.Column("verdict", sql.String(20), nullable=False),
        sql.Column("images", sql.Integer, nullable=False),
        sql.Column("found", sql.Float(53), nullable=False),
    )
    op.create_table(
        "part",
        sql.Column("study", sql.String(60), sql.ForeignKey("study.id"), primary_key=True),
        sql.Column("account", sql.String(16), sql.ForeignKey("account.id"), primary_key=True),
        sql.Column("part", sql.String(20), primary_key=True),
        sql.Column("given", sql.Float(53), nullable=False),
    )
    only_added_to("event")
