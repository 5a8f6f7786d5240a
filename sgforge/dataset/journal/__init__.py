"""The journal of a dataset: answers that are not published yet, and what runs remember beside them.

answers.py    Journal: answers by key, kept together, let go of when they are published
runs.py       runs, steps, where steps began, folders used, hashes of files, readings of sources
file.py       the SQLite file: tables, transactions, seal, errors
"""

from sgforge.dataset.journal.answers import Journal
from sgforge.dataset.journal.file import sealed_journal
from sgforge.dataset.journal.runs import FileHash

__all__ = ["FileHash", "Journal", "sealed_journal"]
