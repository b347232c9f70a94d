"""The screens of the hub, one file each; `router` of each is its addresses."""
