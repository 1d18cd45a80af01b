"""What sessions cost: peers side by side, instruction counts, growth, and tables of them."""
