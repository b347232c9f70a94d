"""Drawn B-mode images of the breast: patients, tissue and lesion, echoes, and the scanner's picture."""
