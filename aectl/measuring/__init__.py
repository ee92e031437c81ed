"""What is known of a trained run in numbers: scores, bounds, baselines, comparisons, and sentences on them."""
