"""Methods of others, in this package's loop: the same model, the same noise, every token that is fed counted alike.

Each is written anew from its paper; where authors have released code, facts were taken from it and no line.
``lossless`` says whether a method keeps the distribution of autoregressive sampling.

============  ====================================================================================  ========
class         method                                                                                lossless
============  ====================================================================================  ========
``PAC``       SJD-PAC: maximal coupling, and a tree of candidates behind each commit (2603.18599)   yes
``Jacobi``    plain Jacobi decoding to the greedy fixed point (2305.10427)                          no
``GSD``       grouped speculative decoding: a draft is accepted with codes like it (2508.07747)     no
``ZipAR``     rows of a picture side by side (2412.04062)                                           no
============  ====================================================================================  ========
"""

from coupled_decoding.decoding.peers.gsd import GSD
from coupled_decoding.decoding.peers.jacobi import Jacobi
from coupled_decoding.decoding.peers.pac import PAC
from coupled_decoding.decoding.peers.zipar import ZipAR

__all__ = ["GSD", "PAC", "Jacobi", "ZipAR"]
