"""MLflow's tracking server with models in it, run by the interpreter of an environment that has MLflow.

``mlflow_server.py FOLDER PORT`` prints one line of JSON once it serves, with the names of what it has, and ends with
its standard input. The server's own command would start four processes more; this is the same application in one.
"""
# mypy: ignore-errors

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path


def main(folder: Path, port: int) -> None:
    os.environ |= {
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{folder}/mlflow.db",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    from mlflow import MlflowClient
    from mlflow.server import app
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", port, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = MlflowClient()
    model = folder / "model"
    (model / "data").mkdir(parents=True)
    (model / "MLmodel").write_text("flavors: {}\n")
    (model / "data/weights.bin").write_bytes(bytes(range(256)) * 8192)
    run = client.create_run("0").info.run_id
    client.log_artifacts(run, str(model), "folder")
    logged = client.create_logged_model("0", name="logged", source_run_id=run).model_id
    client.log_model_artifacts(logged, str(model))
    client.log_outputs(run, models=[_output(logged)])
    client.finalize_logged_model(logged, "READY")
    client.create_registered_model("iris")
    client.create_model_version("iris", f"runs:/{run}/folder", run_id=run)
    newest = client.create_model_version("iris", f"models:/{logged}", run_id=run, model_id=logged)
    client.set_registered_model_alias("iris", "champion", newest.version)
    sys.stdout.write(json.dumps({"run": run, "logged": logged}) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


def _output(model: str) -> object:
    from mlflow.entities import LoggedModelOutput

    return LoggedModelOutput(model, step=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
