"""Folders of photographs and of pairs: which file belongs to which, what is wrong with them, and other layouts of them."""
