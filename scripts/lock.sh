#!/usr/bin/env bash
# Makes the lock files again from the ranges in pyproject.toml: hashed, for every supported Python, without index addresses.
# `scripts/lock.sh --upgrade` takes newer versions where the ranges allow; without it versions stay unless a range moved.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
lock() { # name extras...
  local name=$1; shift
  local extras=()
  for extra in "$@"; do extras+=(--extra "$extra"); done
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-emit-find-links \
    --no-annotate ${UPGRADE:+--upgrade} "${extras[@]}" --constraint <(echo "${PIN:-}") --output-file "requirements/$name.lock" pyproject.toml ${WITH:-}
  echo "requirements/$name.lock: $(grep -c '==' "requirements/$name.lock") packages"
}
[ "${1:-}" = "--upgrade" ] && UPGRADE=1
RUNTIME="serve storage sklearn tabular onnx xgboost lightgbm tracing postgres"
lock runtime $RUNTIME
# The runtime with another minor version of scikit-learn, and all else as it is: what `runtimeVersion: sklearn-1.6` asks for.
others=$(sed -n 's/ \\$//; /^scikit-learn==/d; /==/p' requirements/runtime.lock)
for minor in 1.5 1.6 1.7 1.8; do
  PIN="$others"$'\n'"scikit-learn==$minor.*" lock "runtime-sklearn-$minor" $RUNTIME
done
lock operator operator
lock dev dev
# The runtimes of the heavy backends, each an image of its own, in the versions of the runtime where they share packages.
shared=$(sed -n 's/ \\$//; /==/p' requirements/runtime.lock)
for backend in torch huggingface; do
  PIN="$shared" lock "runtime-$backend" serve storage tracing postgres "$backend"
done
# What tests/backends runs in: what both have, and what those tests need beside it.
PIN="$shared" WITH=tests/backends/requirements.in lock backends serve storage huggingface
printf 'uv>=0.8,<1\n' | "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
  --no-annotate ${UPGRADE:+--upgrade} --output-file requirements/uv.lock -
# What builds the wheel inside the images: the build system that pyproject.toml names.
sed -n 's/^requires = \["\(.*\)"\]$/\1/p' pyproject.toml | "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
  --no-header --no-annotate ${UPGRADE:+--upgrade} --output-file requirements/build.lock -
