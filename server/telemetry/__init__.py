"""Telemetry: what a server tells of itself."""
