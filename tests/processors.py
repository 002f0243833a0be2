"""What a test asks of the processor."""

from pathlib import Path

import pytest

CPU = Path("/proc/cpuinfo")
# Before VNNI, processors add two products of 8 bits in 16, which overflow for random weights.
needs_vnni = pytest.mark.skipif(
    not CPU.is_file() or "vnni" not in CPU.read_text(encoding="utf-8"), reason="this processor has no VNNI"
)
