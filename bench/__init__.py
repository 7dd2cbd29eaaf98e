"""Measures nextbest against its limits and its peers.  Nothing that ships imports this."""
