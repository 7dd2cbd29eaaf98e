"""One process: configuration, start, stop and command line around the native engine."""
