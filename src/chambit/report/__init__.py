"""The dossier: one self-contained page, in Korean and English, on which a review board decides."""
