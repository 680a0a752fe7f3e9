"""Turning models of formats that can run code into formats that cannot, checked by comparing results."""
