"""Feature networks by the published architectures, with the parameter names of their published weights; no weights."""
