"""Specialists' inspections: the frozen plan, who inspects under which pseudonym, and judgements."""

import sqlalchemy as sql
from alembic import op

from chambit.hub.migrations.keeping import only_added_to

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables; a judgement is added and never changed, a newer one stands in its place."""
    op.create_table(
        "inspection",
        sql.Column("id", sql.String(80), primary_key=True),
        sql.Column("study", sql.String(60), sql.ForeignKey("study.id"), nullable=False, index=True),
        sql.Column("plan", sql.Text, nullable=False),
        sql.Column("digest", sql.String(64), nullable=False),
        sql.Column("created", sql.Float(53), nullable=False),
        sql.Column("state", sql.String(10), nullable=False),
    )
    op.create_table(
        "inspector",
        sql.Column("inspection", sql.String(80), sql.ForeignKey("inspection.id"), primary_key=True),
        sql.Column("account", sql.String(16), sql.ForeignKey("account.id"), primary_key=True),
        sql.Column("number", sql.Integer, nullable=False),
        sql.Column("pseudonym", sql.String(32), nullable=False),
        sql.UniqueConstraint("inspection", "number", name="one_inspector_for_a_number"),
    )
    op.create_table(
        "judgement",
        sql.Column("number", sql.Integer, sql.ForeignKey("event.number"), primary_key=True, autoincrement=False),
        sql.Column("inspection", sql.String(80), sql.ForeignKey("inspection.id"), nullable=False),
        sql.Column("seat", sql.Integer, nullable=False),
        sql.Column("image", sql.String(255), nullable=False),
        sql.Column("body", sql.Text, nullable=False),
        sql.Column("digest", sql.String(64), nullable=False),
    )
    op.create_index("judgements_of_an_inspection", "judgement", ["inspection", "seat", "image", "number"])
    only_added_to("judgement")
