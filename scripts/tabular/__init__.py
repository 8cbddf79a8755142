"""The benchmark on tables: what `scripts/tables.py` is made of."""
