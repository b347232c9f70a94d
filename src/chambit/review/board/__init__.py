"""The board: who sits on it, how it votes, what it decides, and which step of the process follows.

Pure rules on frozen records; nothing here reads a database or makes a page. Numbers come from the policy
(`settings.board`), sentences from the folder `words`, in Korean and English at once.
"""
