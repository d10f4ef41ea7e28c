"""The command line: one file per command family. Decides nothing; asks, prints, and ends with a documented code."""
