"""The formulas of the notes as NumPy, one module a chapter; each names the Keras call that does the same.

As in the notes an example is a column, [features, m], unless a docstring says otherwise; Keras has it as a row, so
what goes to Keras is transposed, and W [units out, units in] too. Images are [height, width, channels] in both.
docs/notes.md lists every heading of the notes with its code and test; docs/errata.md what is wrong or ambiguous there.
"""
