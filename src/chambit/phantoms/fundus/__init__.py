"""Drawn colour photographs of the retina: eyes, vessel trees, lesions of diabetic retinopathy, cameras."""
