"""The hub: accounts, studies under review and all that people decide, in one database with one chained account of it.

Knows no page and no request; `chambit.web` asks it and shows what it answers.
"""
