"""Networks: the ResNet backbone, DSGAN's generators and discriminators, and the four-stream network."""
