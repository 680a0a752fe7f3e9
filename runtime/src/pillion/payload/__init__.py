"""The log of payloads: requests and answers as CloudEvents, as KServe's logger sends them."""
