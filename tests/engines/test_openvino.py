"""OpenVINO is loaded without what is not used of it, and that can still be loaded afterwards."""

from __future__ import annotations

import subprocess
import sys


def test_its_converter_is_not_loaded_but_can_be():
    """It takes longer to import than all the rest, and starts a thread for telemetry."""
    code = (
        "import sys, threading, jasper.graph.openvino\n"
        "assert 'openvino_telemetry' not in sys.modules and threading.active_count() == 1\n"
        "from openvino.tools.ovc import convert_model\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
