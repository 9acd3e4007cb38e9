"""Scoring over HTTP: `mspt serve`."""
