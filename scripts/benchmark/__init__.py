"""The parts of `bench.py`: its command line, the measuring, and the table."""
