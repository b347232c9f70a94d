"""What the stages of a chain are made of: small networks, objectives, degradations, parts; the stages are in `stages`.

Everything here is written from the papers its modules name. Stages of this room train on two CPU cores or a GPU, go on
after a kill, and draw every image from its own inputs and its own seed.
"""
