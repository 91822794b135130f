"""Files that appear whole or not at all, on a disk or in an object store."""
