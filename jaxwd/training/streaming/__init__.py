"""How a streamed training is cut into pieces, fed and compiled."""
