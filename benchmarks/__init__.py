"""`make bench`: the engines alone, then the gateway around them, in one run and one table."""
