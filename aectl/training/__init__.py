"""The training loop and what it needs: optimizer, feeding, exact resume, and what a run tells."""
