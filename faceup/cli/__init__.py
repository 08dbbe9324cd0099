"""The command line: parsing and printing only; every command calls a function that Python users can call too."""
