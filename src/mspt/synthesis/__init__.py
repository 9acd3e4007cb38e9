"""Layer 4: pristine faces -> degraded faces with a full-reference `mos`."""
