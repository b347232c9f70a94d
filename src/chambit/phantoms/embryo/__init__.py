"""Drawing of phantom embryos: who they are, how their cells lie, and what a microscope shows of them."""
