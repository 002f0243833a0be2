"""The network of `jasper.nn` in MindSpore: the same names, the same order, the same weights."""

import os

# MindSpore warns at every import on a machine without an Ascend card; its errors are still shown.
os.environ.setdefault("GLOG_v", "3")
