"""The reference page of ``pillion conformance``, made from the checks themselves."""

from __future__ import annotations

from typing import Final

from pillion.conformance.checks import all_checks

_HEAD: Final = """\
# What `pillion conformance` checks

<!-- Generated from runtime/src/pillion/conformance by 'make generate'. Do not edit. -->

`pillion conformance URL` asks any server whether it keeps to the [Open Inference
Protocol](https://github.com/kserve/open-inference-protocol): each check is one sentence of the specification, told
with the place where it stands, and a failure shows what was sent, what came, and what was expected.

    pillion conformance http://127.0.0.1:8080
    pillion conformance http://127.0.0.1:8080 --grpc 127.0.0.1:8081 --model iris
    pillion conformance http://127.0.0.1:8080 --format junit > report.xml

REST needs `pip install pillion` alone; `--grpc` needs `pillion[serve]`, which brings gRPC.

- Requests are made from what a model's metadata says of its inputs. Where it says nothing, give one that the model
  answers: `--request FILE`.
- **MUST**: the specification says so, or defines the answer. **SHOULD**: it leaves it open, and HTTP, gRPC or clients
  rely on it. **optional**: no client breaks.
- Exit code 0 where every MUST is kept, 1 where one is broken or the time was over before all were tested (`--strict`:
  or a SHOULD or an optional one is broken), 2 where no server answers.
- An extension that the server does not claim in `extensions` is skipped; `--extension NAME` checks it all the same.
- Everything ends within `--seconds` (120) and each answer is waited for `--timeout` (10) seconds. Bad requests are
  sent on purpose, none is large: ask a server that may get them. A model is taken to give the same outputs for the
  same inputs.
- The specification has two texts for some answers: the prose shows bodies for health, with `live` under Server Ready,
  its OpenAPI document none. Such bodies are a SHOULD.
- Outputs that metadata marks with `"parameters": {"optional": true}` need not come unless they are asked for; the
  specification has no word for such outputs.

What MLServer, KServe's Python server and Triton keep of it is in `bench/results/conformance.md`; `make
bench-conformance` repeats it.
"""


def outputs() -> dict[str, str]:
    """Return the text of each file by its path from the root."""
    return {"docs/reference/conformance.md": _page()}


def _page() -> str:
    """The page's Markdown."""
    lines = [_HEAD]
    group = ""
    for check in all_checks():
        if check.group != group:
            group = check.group
            lines += [f"## {group}", "", "| check | level | sentence | where it stands |", "|---|---|---|---|"]
        lines.append(f"| `{check.id}` | {check.level.value} | {check.sentence} | {check.source} |")
    text = "\n".join(lines) + "\n"
    # A heading wants an empty line before it.
    return text.replace("|\n## ", "|\n\n## ")
