"""Layer 2: model files, and scoring with them. Needs no torch."""
