"""Bi-temporal change detection."""
