"""What people would rather look at than read: plots, grids of images, the page of a sweep."""
