"""What a configuration may say: names, types and ranges. No torch, no file IO."""
