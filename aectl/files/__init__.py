"""What people bring and take away: pictures, files of codes, tables, and where they go."""
