"""What computes: devices, threads, and what other processes leave of them."""
