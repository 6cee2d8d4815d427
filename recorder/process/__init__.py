"""The process that records: when it samples, and when it ends."""
