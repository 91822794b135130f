"""Reports: tables for a terminal."""
