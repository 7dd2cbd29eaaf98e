"""`python -m nextbest.bench`: the command without the rest of the command line."""

from .command import main

main()
