"""Reader studies: the frozen protocol, who reads under which pseudonym, and votes."""

import sqlalchemy as sql
from alembic import op

from chambit.hub.migrations.keeping import only_added_to

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables; a vote is cast once and never changed."""
    op.create_table(
        "reading",
        sql.Column("id", sql.String(80), primary_key=True),
        sql.Column("study", sql.String(60), sql.ForeignKey("study.id"), nullable=False, index=True),
        sql.Column("protocol", sql.Text, nullable=False),
        sql.Column("digest", sql.String(64), nullable=False),
        sql.Column("created", sql.Float(53), nullable=False),
        sql.Column("state", sql.String(10), nullable=False),
    )
    op.create_table(
        "seat",
        sql.Column("reading", sql.String(80), sql.ForeignKey("reading.id"), primary_key=True),
        sql.Column("account", sql.String(16), sql.ForeignKey("account.id"), primary_key=True),
        sql.Column("number", sql.Integer, nullable=False),
        sql.Column("pseudonym", sql.String(32), nullable=False),
        sql.Column("outside", sql.Boolean, nullable=False),
        sql.Column("experience", sql.String(200), nullable=False),
        sql.UniqueConstraint("reading", "number", name="one_reader_for_a_number"),
    )
    op.create_table(
        "vote",
        sql.Column("reading", sql.String(80), sql.ForeignKey("reading.id"), primary_key=True),
        sql.Column("trial", sql.String(32), primary_key=True),
        sql.Column("number", sql.Integer, nullable=False),
        sql.Column("position", sql.Integer, nullable=False),
        sql.Column("body", sql.Text, nullable=False),
    )
    op.create_index("votes_of_a_reader", "vote", ["reading", "number", "position"])
    only_added_to("vote")
