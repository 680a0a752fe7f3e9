"""The protocol buffers of the wire, and the modules generated from them (``scripts/generate_protos.py``)."""
