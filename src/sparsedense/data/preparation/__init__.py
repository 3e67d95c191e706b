"""How `prepare` and `merge` make a store: what is to be done, doing it, and going on after anything."""
