"""What is measured: rankings cut at K, recall, average precision, conventions, intervals."""
