"""What the installed version of the vendor's package offers and needs."""
