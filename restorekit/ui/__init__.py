"""The page for those who don't type: ``restorekit ui``. Only `page` and `server` import Gradio."""
