"""Many runs of one recipe, and runs side by side."""
