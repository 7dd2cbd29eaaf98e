"""The native engine: state in memory and the loops over it.  Imports nothing else of ours."""
