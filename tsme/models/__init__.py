"""Networks: the ResNet trunk, DSGAN's generators and discriminators, and the four-stream network."""
