"""Checking a dataset, under the name that scripts import: `sgforge.dataset.maintenance.verification` does it."""

from sgforge.dataset.maintenance.verification import SnapshotCheck, Verification, verify_dataset

__all__ = ["SnapshotCheck", "Verification", "verify_dataset"]
