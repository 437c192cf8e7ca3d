"""Traces, where the environment names a collector of OpenTelemetry's."""
