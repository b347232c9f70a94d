"""From items to a trained model: planning, conditioning, the loop, looks, checkpoints, processes, drawing."""
