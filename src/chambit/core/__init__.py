"""What every room stands on: study, evidence, digests, seeds, store, ledger, steps, extensions, engines, errors."""
