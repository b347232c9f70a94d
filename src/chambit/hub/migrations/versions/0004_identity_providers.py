"""Identity providers: accounts that wait to be admitted, journeys to a provider, the ID token of an open session."""

import sqlalchemy as sql
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns and the table; accounts that are there wait for nothing."""
    op.add_column("account", sql.Column("waiting", sql.Boolean, nullable=False, server_default=sql.false()))
    op.add_column("account", sql.Column("connectable", sql.Boolean, nullable=False, server_default=sql.false()))
    op.add_column("account", sql.Column("suggested", sql.JSON, nullable=False, server_default="[]"))
    op.add_column("session", sql.Column("id_token", sql.Text))
    op.create_table(
        "departure",
        sql.Column("state", sql.String(64), primary_key=True),
        sql.Column("browser", sql.String(64), nullable=False),
        sql.Column("issuer", sql.String(200), nullable=False),
        sql.Column("nonce", sql.String(64), nullable=False),
        sql.Column("verifier", sql.String(128), nullable=False),
        sql.Column("to", sql.Text, nullable=False),
        sql.Column("session", sql.String(64)),
        sql.Column("left", sql.Float(53), nullable=False),
    )
