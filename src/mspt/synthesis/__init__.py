"""Layer 4: pristine faces -> degraded faces with a fused full-reference `mos`."""
