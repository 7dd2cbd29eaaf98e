"""Traces: kept calls, and the work around them, as OpenTelemetry spans."""
