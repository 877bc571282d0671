"""The page's HTML: Chainlit's own without what it would load from elsewhere, under a policy that forbids it."""

from __future__ import annotations

import base64
import hashlib
import re

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

_ELSEWHERE = re.compile(r"<(?:link|script)\b[^>]*\b(?:href|src)=[\"']https?://[^>]*>", re.IGNORECASE)
_SHOWN_ELSEWHERE = re.compile(r"<meta\b[^>]*\bcontent=[\"']https?://[^>]*>", re.IGNORECASE)
_INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


class Index:
    """Made once, when the page is first asked for. Sets the login cookie, so that nobody sees a login screen."""

    def __init__(self) -> None:
        self._html = ""
        self._policy = ""

    async def page(self, request: Request) -> Response:
        from chainlit.auth import create_jwt, set_auth_cookie

        from ui.page import viewing_user

        if not self._html:
            self._make()
        response = HTMLResponse(self._html, headers={"Content-Security-Policy": self._policy})
        response.headers["Cache-Control"] = "no-store"
        set_auth_cookie(request, response, create_jwt(await viewing_user()))
        return response

    def _make(self) -> None:
        from chainlit.server import get_html_template

        from ui.root import PATH

        self._html = with_script(offline(str(get_html_template(PATH))), f"{PATH}/public/talks.js")
        self._policy = policy(self._html)


def offline(html: str) -> str:
    """Without links, scripts and addresses of other machines."""
    return _SHOWN_ELSEWHERE.sub("", _ELSEWHERE.sub("", html))


def with_script(html: str, address: str) -> str:
    """Chainlit takes one script of ours only (`custom_js`)."""
    return html.replace("</head>", f'<script defer src="{address}"></script></head>', 1)


def policy(html: str) -> str:
    """Nothing from elsewhere. `unsafe-eval`: Chainlit compiles our elements (`public/elements`) in the browser."""
    scripts = " ".join(_hash(script) for script in _INLINE.findall(html))
    return (
        f"default-src 'self'; script-src 'self' 'unsafe-eval' {scripts}; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; media-src 'self' blob:; "
        "worker-src 'self' blob:; object-src 'none'; frame-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
