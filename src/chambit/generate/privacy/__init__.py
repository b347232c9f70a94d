"""Differential privacy of the stage `flow_dp`: noisy training and what is released beside it."""
