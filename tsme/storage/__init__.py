"""Files on disk and in object stores: atomic writes, remote paths, local copies."""
