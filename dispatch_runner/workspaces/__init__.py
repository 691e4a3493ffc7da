"""Where tasks work: an empty folder of their own, or a git worktree of their own; and merging what they did.

Imported only by a dispatch in which some task asks for it.
"""
