"""What the process does to this package: it forks, and it ends while threads still run."""
