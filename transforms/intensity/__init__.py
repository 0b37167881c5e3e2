"""What gray values become: standardisation, random gray curves."""
