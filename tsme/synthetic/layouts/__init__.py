"""The layouts of RegDB, SYSU-MM01, LLCM and a CSV table, as synthetic data fill them."""
