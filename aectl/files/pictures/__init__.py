"""Picture files: read exactly, and written as what they were."""
