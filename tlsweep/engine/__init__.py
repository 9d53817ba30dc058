"""Processes that compute together."""
