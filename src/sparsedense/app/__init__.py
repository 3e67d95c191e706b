"""A local web page: watch what a model sees in a video, browse a store, and put reports side by side.

    browser -> guard -> routes -> uploads -> inspection (a process of its own) -> queue -> analysis -> browser

The page is plain HTML, CSS and JavaScript in `static/`; nothing is loaded from the network.
"""
