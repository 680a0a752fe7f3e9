from __future__ import annotations

from e2e.harness.firewall import removal

SAVED = """*filter
:INPUT ACCEPT [1:2]
:FORWARD ACCEPT [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-NWPLCY-DEFAULT - [0:0]
:KUBE-POD-FW-5ED2 - [0:0]
:KUBE-ROUTER-FORWARD - [0:0]
-A FORWARD -m comment --comment "kube-router netpol - X" -j KUBE-ROUTER-FORWARD
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A KUBE-ROUTER-FORWARD -d 10.244.0.9/32 -j KUBE-POD-FW-5ED2
COMMIT
"""


def test_only_what_the_firewall_made_is_taken_out_and_jumps_go_before_chains() -> None:
    assert """*filter
-D FORWARD -m comment --comment "kube-router netpol - X" -j KUBE-ROUTER-FORWARD
-F KUBE-NWPLCY-DEFAULT
-F KUBE-POD-FW-5ED2
-F KUBE-ROUTER-FORWARD
-X KUBE-NWPLCY-DEFAULT
-X KUBE-POD-FW-5ED2
-X KUBE-ROUTER-FORWARD
COMMIT
""" == removal(SAVED)
