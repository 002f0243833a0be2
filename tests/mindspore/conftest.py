"""Tests of what runs in MindSpore, in an environment of its own: `make test-mindspore`."""

from importlib.util import find_spec

# Without MindSpore this folder itself is what `mindspore` names, a package without a file.
_spec = find_spec("mindspore")
collect_ignore_glob = [] if _spec is not None and _spec.origin is not None else ["test_*.py"]
