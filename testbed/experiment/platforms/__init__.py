"""What an experiment runs on, one file per platform, each reached only through a client of its API."""
