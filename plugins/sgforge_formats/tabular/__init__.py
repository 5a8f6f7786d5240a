"""Rows of tables: Parquet and folders as Hugging Face has them, R1-SGG, GraphML."""
