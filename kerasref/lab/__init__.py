"""The lab: what checks the claims. Imports the core; the core never imports the lab."""
