"""The review: findings become evidence under a policy, and evidence becomes one verdict for the committee."""
