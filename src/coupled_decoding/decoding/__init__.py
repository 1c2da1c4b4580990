"""The method: tensors and a session. No model, no file format, no application.

Read ``reference.py`` first, which is algorithm 1 for one row; then ``loop.py``, ``step.py`` and ``windows.py``, the
same for many rows at once; then what they call in ``rules/``.

Words. Each has one meaning here.

========  ==============================================================================================================
row       of the batch: one stream of tokens with a prompt, seed, layout and sampling of its own; 0 .. B-1
index     generated index of a token in its row, 0 .. length-1; a position is what stands, or will stand, at an index
offset    of a position in its row's window, 0 .. T-1
code      number of a drawable token among all of them, 0 .. C-1; its vocabulary id is ``codes[code]``
slot      number of a token among those that a forward reads, 0 .. T+M-1: slot t of the window is the token *before* the
          position at offset t, whose distribution it gives; then come M branch tokens
draft     a code guessed for a position, not yet part of the output
label     the distribution that a draft was really drawn from (the paper's ``q``); never another one
target    the distribution that autoregressive sampling would draw a position from (the paper's ``p``): guidance, legal
          codes, temperature, top-k and top-p applied
window    the positions that a forward gives distributions of: the first uncommitted one, and those after it as far as
          there are drafts to read
step      one forward and all that it decides
visit     how many steps a row has had before this one; part of the address of random numbers
commit    accept the first drafts of the window, and the token drawn after them; what is committed never changes
coupling  how the next draft of an uncommitted position is drawn from its new target, given the old draft
branch    other candidates for a draft, and copies of the next drafts behind them, read in the same forward
route     the tokens of a forward that a row continues along: its window, or that up to a branch and then the branch
========  ==============================================================================================================

Letters of shapes: B rows of the batch, R rows of a step's window, T positions of a window, M branch tokens, C codes.
"""
