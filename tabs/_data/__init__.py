"""The parts of the Dataset tab, a file each."""
