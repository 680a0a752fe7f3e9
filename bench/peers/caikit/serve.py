"""The typed task by caikit's own HTTP server, as its users start it."""

import sys
import tempfile
from pathlib import Path

import caikit
import mood
from caikit.runtime.http_server import http_server

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "mood")
        model.mkdir()
        (model / "config.yml").write_text(f"module_id: {mood.IDENTITY}\nname: mood\nversion: 0.0.1\n")
        caikit.configure(
            config_dict={
                "log": {"level": "error"},
                "runtime": {
                    "library": "mood",
                    "local_models_dir": folder,
                    "lazy_load_local_models": False,
                    "grpc": {"enabled": False},
                    "http": {"enabled": True, "port": int(sys.argv[1])},
                    "metrics": {"enabled": False},
                },
            }
        )
        http_server.main()
