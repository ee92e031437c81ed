"""Data sets, from drawn shapes to a folder of people's own pictures: a choice in each file; `table.py` lists them."""
