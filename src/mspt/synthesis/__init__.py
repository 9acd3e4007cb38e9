"""Layer 5: pristine faces -> degraded faces with a full-reference `mos`."""
