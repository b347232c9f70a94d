"""Records of the board, each with the event that tells of it, and signing keys of members."""

import sqlalchemy as sql
from alembic import op

from chambit.hub.migrations.keeping import only_added_to

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables; records are added and never changed: the newest of a name is the one that stands."""
    op.create_table(
        "record",
        sql.Column("number", sql.Integer, sql.ForeignKey("event.number"), primary_key=True, autoincrement=False),
        sql.Column("study", sql.String(60), sql.ForeignKey("study.id"), nullable=False),
        sql.Column("kind", sql.String(30), nullable=False),
        sql.Column("name", sql.String(80), nullable=False),
        sql.Column("body", sql.Text, nullable=False),
        sql.Column("digest", sql.String(64), nullable=False),
    )
    op.create_index("records_of_a_study", "record", ["study", "kind", "number"])
    op.create_table(
        "signing",
        sql.Column("id", sql.String(64), primary_key=True),
        sql.Column("account", sql.String(16), sql.ForeignKey("account.id"), nullable=False, index=True),
        sql.Column("public", sql.Text, nullable=False),
        sql.Column("private", sql.Text, nullable=False),
        sql.Column("begins", sql.String(10), nullable=False),
        sql.Column("until", sql.String(10)),
    )
    only_added_to("record")
