"""What the page's server refuses: large bodies, foreign origins, addresses that the browser is not to ask."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

LARGEST_BODY = 25 * 2**20  # bytes of one request
HEADERS = {  # 'unsafe-inline' and 'unsafe-eval' are what Gradio's own page needs; no other host is asked for anything
    "Content-Security-Policy": "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TOO_LARGE = f"the request is over {LARGEST_BODY // 2**20} MB\n"


class OwnPageOnly:
    """ASGI middleware: 403 for a request of a page of another origin, 413 for a body over LARGEST_BODY, whether or not
    its length is stated. Every answer has HEADERS."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        received = 0

        async def counted():
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_BODY:  # nothing more is read
                raise HTTPException(413, TOO_LARGE)
            return message

        async def with_headers(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = refuse(scope["method"], Headers(scope=scope))
        await (refusal or self.app)(scope, counted, with_headers)


def refuse(method: str, headers: Headers) -> PlainTextResponse | None:
    """The answer to a request that is refused by what its headers say."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
    foreign = origin is not None and origin.partition("://")[2] != headers.get("host")
    if foreign or (site == "cross-site" and method not in ("GET", "HEAD")):
        return PlainTextResponse("requests from pages of other origins are refused\n", 403)
    length = headers.get("content-length", "0")
    if not length.isdigit() or len(length) > 18 or int(length) > LARGEST_BODY:
        return PlainTextResponse(TOO_LARGE, 413)
    return None
