"""What synthetic identities look like: body, clothes, things carried, pose."""
