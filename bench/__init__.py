"""The benchmark harness: Pillion against bare limits and peers, interleaved, with server CPU time per request.

``python -m bench run`` writes ``bench/results``. Absolute figures mean little on shared machines; ratios of one run do.
"""
