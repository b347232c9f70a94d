"""Services that make images from text, one file each.

A provider has `version`, `LEAVES_SITE` (whether a request goes to another machine), `KEY` (name of the environment
variable with its secret, "" for none), `Options`, `hosts(options) -> tuple` (all it may reach), and
`opened(options) -> Ask`: a function from a `Request` to an `Answer`, called from several threads. It tells a wait by
`Busy`, a call that will never be served by `Denied`, an image a person has not delivered by `Pending`. A service that
answers without an image is an `Answer` with `image=None`: an outcome, not an error.
"""
