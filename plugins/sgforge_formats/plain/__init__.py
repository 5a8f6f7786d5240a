"""Sources and exporters that need no format of others: graph JSONL, plain folders, made scenes."""
