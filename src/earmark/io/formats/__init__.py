"""What a file of sound is and what it holds, by its bytes."""
