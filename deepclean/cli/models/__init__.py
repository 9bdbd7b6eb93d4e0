"""`deepclean models`: the commands about the model store."""
