"""Refinement: recorded pixel operations after sampling, one file each; geometry is applied to real images as well."""
