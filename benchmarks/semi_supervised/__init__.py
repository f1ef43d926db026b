"""How few labels are enough?"""
