"""Rollout: when a canary is promoted or rejected, and production rolled back."""
