"""What an experiment has shown: variants compared, with how sure one can be.

Owns the statistics of finished and running tests, from arrays of subjects.  It must not read from a
server, decide anything, or be imported by what serves: its libraries are an extra.
"""
