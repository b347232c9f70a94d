"""One three-dimensional anatomy per invented patient, rendered as CT, MRI and radiograph."""
