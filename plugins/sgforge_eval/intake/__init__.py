"""What comes in: predictions and truth read from files or datasets, paired image by image."""
