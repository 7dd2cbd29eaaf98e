"""The load harness behind `nextbest bench`: an open-loop generator for gRPC, and its reports."""
