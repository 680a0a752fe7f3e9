"""Traces of requests: which are sampled is decided here, their spans are made and sent by OpenTelemetry's SDK."""
