"""What the machine gives and takes: files, locks, cores, memory, and the way to other machines."""
