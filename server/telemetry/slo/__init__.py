"""SLO: what share of a method's calls is to be good, and how fast the rest is being used up."""
