"""What {{Name}} promises. Run with: python -m pytest"""

