"""Layer 1: bytes -> rgb -> face rgb -> network input."""
