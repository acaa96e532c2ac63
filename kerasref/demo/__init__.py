"""A local web page to try trained networks on."""
