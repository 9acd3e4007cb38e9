"""Layer 5: data and stages -> checkpoints -> one model file. Needs the extra `train`."""
