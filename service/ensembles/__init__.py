"""Ensembles: models made of steps, each answered by another model or route through its own queue."""
