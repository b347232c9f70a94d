"""Networks that are trained end to end on images of each arm, one per file.

A learner is a module with `version`, `prepare(x)` that makes of standardised images (N, 1, H, W) what the network is
given (N, C, H, W), the image itself first, once before training, and `Network(classes, mean, std)`, which keeps `mean`
and `std` of its training images and gives logits (N, classes) of either.
"""
