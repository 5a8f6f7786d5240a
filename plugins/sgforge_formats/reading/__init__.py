"""What sources share: faults, lists of large JSON files, pictures in folders, what lies in a folder."""
