"""Layouts of RegDB, SYSU-MM01, LLCM and a CSV table, as the generator writes them."""
