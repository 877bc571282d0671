"""The HTTP edge: what programs talk to. One router per noun; `create_app` in `app.py` puts them together."""
