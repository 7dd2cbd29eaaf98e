"""The command line: `nextbest`.  It speaks to a server through the client, like any caller."""
