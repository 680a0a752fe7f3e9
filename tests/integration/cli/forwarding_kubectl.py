#!/usr/bin/env python3
"""kubectl on a cluster without nodes, where nothing can be forwarded to: `port-forward` leads to FORWARD_TO on this
machine, as if that were the pod; `logs` prints the file POD_LOG where that is set; and every other command is the real
kubectl's. Real forwarding is e2e's matter.
"""

import os
import signal
import sys
from pathlib import Path

real, port = os.environ["REAL_KUBECTL"], os.environ["FORWARD_TO"]
if "logs" in sys.argv and os.environ.get("POD_LOG"):
    sys.stdout.write(Path(os.environ["POD_LOG"]).read_text())
    sys.exit()
if "port-forward" not in sys.argv:
    os.execv(real, ["kubectl", *sys.argv[1:]])
with Path(os.environ["FORWARD_LOG"]).open("a") as log:
    log.write(" ".join(sys.argv[sys.argv.index("port-forward") :]) + "\n")
sys.stdout.write(f"Forwarding from 127.0.0.1:{port} -> 8080\n")
sys.stdout.flush()
signal.pause()
