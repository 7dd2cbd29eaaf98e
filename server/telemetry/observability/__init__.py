"""Observability: what a monitoring system beside the server is configured with, generated."""
