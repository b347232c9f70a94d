"""The tables of the hub, the same in SQLite and PostgreSQL. Migrations bring a database to this form.

Times are seconds since 1970 (float64, UTC). What changes is written together with an event of the trail, in one
transaction, so a row that no event accounts for does not exist.
"""

import sqlalchemy as sql

metadata = sql.MetaData()

account = sql.Table(
    "account",
    metadata,
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
    sql.Column("waiting", sql.Boolean, nullable=False, server_default=sql.false()),
    sql.Column("connectable", sql.Boolean, nullable=False, server_default=sql.false()),
    sql.Column("suggested", sql.JSON, nullable=False, server_default="[]"),
    sql.UniqueConstraint("issuer", "subject", name="one_account_for_an_identity"),
)

session = sql.Table(
    "session",
    metadata,
    sql.Column("token", sql.String(64), primary_key=True),
    sql.Column("account", sql.String(16), sql.ForeignKey("account.id"), nullable=False, index=True),
    sql.Column("csrf", sql.String(64), nullable=False),
    sql.Column("created", sql.Float(53), nullable=False),
    sql.Column("seen", sql.Float(53), nullable=False),
    sql.Column("complete", sql.Boolean, nullable=False),
    sql.Column("id_token", sql.Text),
)

departure = sql.Table(
    "departure",
    metadata,
    sql.Column("state", sql.String(64), primary_key=True),
    sql.Column("browser", sql.String(64), nullable=False),
    sql.Column("issuer", sql.String(200), nullable=False),
    sql.Column("nonce", sql.String(64), nullable=False),
    sql.Column("verifier", sql.String(128), nullable=False),
    sql.Column("to", sql.Text, nullable=False),
    sql.Column("session", sql.String(64)),
    sql.Column("left", sql.Float(53), nullable=False),
)

event = sql.Table(
    "event",
    metadata,
    sql.Column("number", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("time", sql.Float(53), nullable=False),
    sql.Column("actor", sql.String(16), nullable=False, index=True),
    sql.Column("kind", sql.String(60), nullable=False, index=True),
    sql.Column("about", sql.String(80), nullable=False, index=True),
    sql.Column("body", sql.Text, nullable=False),
    sql.Column("previous", sql.String(64), nullable=False),
    sql.Column("hash", sql.String(64), nullable=False),
)

study = sql.Table(
    "study",
    metadata,
    sql.Column("id", sql.String(60), primary_key=True),
    sql.Column("folder", sql.Text, nullable=False, unique=True),
    sql.Column("title", sql.Text, nullable=False),
    sql.Column("state", sql.String(20), nullable=False),
    sql.Column("candidate", sql.String(64), nullable=False),
    sql.Column("created", sql.Float(53), nullable=False),
    sql.Column("changed", sql.Float(53), nullable=False),
)

candidate = sql.Table(
    "candidate",
    metadata,
    sql.Column("study", sql.String(60), sql.ForeignKey("study.id"), primary_key=True),
    sql.Column("digest", sql.String(64), primary_key=True),
    sql.Column("evidence", sql.String(64), nullable=False),
    sql.Column("registered", sql.String(64), nullable=False),
    sql.Column("policy", sql.JSON, nullable=False),
    sql.Column("verdict", sql.String(20), nullable=False),
    sql.Column("images", sql.Integer, nullable=False),
    sql.Column("found", sql.Float(53), nullable=False),
)

part = sql.Table(
    "part",
    metadata,
    sql.Column("study", sql.String(60), sql.ForeignKey("study.id"), primary_key=True),
    sql.Column("account", sql.String(16), sql.ForeignKey("account.id"), primary_key=True),
    sql.Column("part", sql.String(20), primary_key=True),
    sql.Column("given", sql.Float(53), nullable=False),
)

record = sql.Table(
    "record",
    metadata,
    sql.Column("number", sql.Integer, sql.ForeignKey("event.number"), primary_key=True, autoincrement=False),
    sql.Column("study", sql.String(60), sql.ForeignKey("study.id"), nullable=False),
    sql.Column("kind", sql.String(30), nullable=False),
    sql.Column("name", sql.String(80), nullable=False),
    sql.Column("body", sql.Text, nullable=False),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Index("records_of_a_study", "study", "kind", "number"),
)

signing = sql.Table(
    "signing",
    metadata,
    sql.Column("id", sql.String(64), primary_key=True),
    sql.Column("account", sql.String(16), sql.ForeignKey("account.id"), nullable=False, index=True),
    sql.Column("public", sql.Text, nullable=False),
    sql.Column("private", sql.Text, nullable=False),
    sql.Column("begins", sql.String(10), nullable=False),
    sql.Column("until", sql.String(10)),
)

reading = sql.Table(
    "reading",
    metadata,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("study", sql.String(60), sql.ForeignKey("study.id"), nullable=False, index=True),
    sql.Column("protocol", sql.Text, nullable=False),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Column("created", sql.Float(53), nullable=False),
    sql.Column("state", sql.String(10), nullable=False),
)

seat = sql.Table(
    "seat",
    metadata,
    sql.Column("reading", sql.String(80), sql.ForeignKey("reading.id"), primary_key=True),
    sql.Column("account", sql.String(16), sql.ForeignKey("account.id"), primary_key=True),
    sql.Column("number", sql.Integer, nullable=False),
    sql.Column("pseudonym", sql.String(32), nullable=False),
    sql.Column("outside", sql.Boolean, nullable=False),
    sql.Column("experience", sql.String(200), nullable=False),
    sql.UniqueConstraint("reading", "number", name="one_reader_for_a_number"),
)

vote = sql.Table(
    "vote",
    metadata,
    sql.Column("reading", sql.String(80), sql.ForeignKey("reading.id"), primary_key=True),
    sql.Column("trial", sql.String(32), primary_key=True),
    sql.Column("number", sql.Integer, nullable=False),
    sql.Column("position", sql.Integer, nullable=False),
    sql.Column("body", sql.Text, nullable=False),
    sql.Index("votes_of_a_reader", "reading", "number", "position"),
)

inspection = sql.Table(
    "inspection",
    metadata,
    sql.Column("id", sql.String(80), primary_key=True),
    sql.Column("study", sql.String(60), sql.ForeignKey("study.id"), nullable=False, index=True),
    sql.Column("plan", sql.Text, nullable=False),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Column("created", sql.Float(53), nullable=False),
    sql.Column("state", sql.String(10), nullable=False),
)

inspector = sql.Table(
    "inspector",
    metadata,
    sql.Column("inspection", sql.String(80), sql.ForeignKey("inspection.id"), primary_key=True),
    sql.Column("account", sql.String(16), sql.ForeignKey("account.id"), primary_key=True),
    sql.Column("number", sql.Integer, nullable=False),
    sql.Column("pseudonym", sql.String(32), nullable=False),
    sql.UniqueConstraint("inspection", "number", name="one_inspector_for_a_number"),
)

judgement = sql.Table(
    "judgement",
    metadata,
    sql.Column("number", sql.Integer, sql.ForeignKey("event.number"), primary_key=True, autoincrement=False),
    sql.Column("inspection", sql.String(80), sql.ForeignKey("inspection.id"), nullable=False),
    sql.Column("seat", sql.Integer, nullable=False),
    sql.Column("image", sql.String(255), nullable=False),
    sql.Column("body", sql.Text, nullable=False),
    sql.Column("digest", sql.String(64), nullable=False),
    sql.Index("judgements_of_an_inspection", "inspection", "seat", "image", "number"),
)
