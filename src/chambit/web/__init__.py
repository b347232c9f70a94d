"""Pages of the hub: server-rendered, Korean first, nothing loaded from elsewhere. One file of `pages` is one screen."""
