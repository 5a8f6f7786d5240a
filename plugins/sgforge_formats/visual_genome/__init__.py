"""Visual Genome and what was made of it: its JSON files, VG150 in HDF5, GQA scene graphs."""
