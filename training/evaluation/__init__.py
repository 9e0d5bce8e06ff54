"""Figures out of logits."""
