"""The networks of the core: a UNet, a perceptron, MONAI's, and the embedding of what each is told."""
