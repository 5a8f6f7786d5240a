"""Generation and ranking: one prefix encoded once, all that is asked about it decoded beside each other."""
