"""What other programs collect: Prometheus and OpenTelemetry."""
