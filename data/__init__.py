"""What training and benchmarks share: the prompts and the clips that figures are measured on.

Both import this folder, and never each other.
"""
