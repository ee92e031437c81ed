"""The training loop and what it needs: optimizer, schedules, feeding, exact resume, and what a run tells."""
