"""Executors: where a model's code runs."""
