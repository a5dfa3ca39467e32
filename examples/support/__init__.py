"""What examples share."""
