"""How fast, how good and at what memory a model answers: what a benchmark is made of.

variants: what can be measured, and what of it here; passage: a text of ours; requests: what is asked; engines: what
answers it, and when; figures: what follows from the times; advice: what to make of the figures, in words.
"""
