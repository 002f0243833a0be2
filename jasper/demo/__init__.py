"""A small corpus that speaks itself, and a tiny network that learns it: `jasper demo`."""
