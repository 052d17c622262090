"""Other people's restoration networks through the library spandrel."""
