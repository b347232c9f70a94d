"""Reader study (visual Turing test): plan what readers see, keep their votes, and say what the votes show.

Readers are told neither what an image is nor whether they were right. Votes are kept, never one number alone.
"""
