"""What `recipes.py` is made of."""
