"""What containers of several engines look like from inside, fact by fact."""
