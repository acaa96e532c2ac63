"""What writes README, docs and results of this repository; the scripts of the same purpose are doors to it."""
