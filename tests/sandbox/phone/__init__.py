"""The "customer's phone": one page for all simulated networks."""
