"""The command `kerasref VERB`: `main` finds the verb; the verbs of the core each have a module here."""
