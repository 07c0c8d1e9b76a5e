"""Files → rows → messages → tokens. Imports neither torch nor transformers: the page reads these too."""
