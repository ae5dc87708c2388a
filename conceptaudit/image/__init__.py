"""Images and image embeddings to concept tags."""
