"""Templates, styles and scripts of pages that a browser opens from the disk, and what fills them."""
