"""What a process needs before and around the work: flags, start, devices."""
