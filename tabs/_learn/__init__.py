"""The Learn tab's parts, a file each."""
