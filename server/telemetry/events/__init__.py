"""Events: decisions as OpenTelemetry log records."""
