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


class OwnPageOnly:
    """ASGI middleware: a request that a page of another origin makes is refused with 403; every answer has HEADERS."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        foreign = origin is not None and origin.partition("://")[2] != headers.get("host")
        if foreign or (site == "cross-site" and scope["method"] not in ("GET", "HEAD")):
            refusal = PlainTextResponse("requests from pages of other origins are refused\n", 403)
            return await refusal(scope, receive, send)

        async def with_headers(message):
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)


class LimitBody:
    """ASGI middleware: a request's body over LARGEST_BODY is refused with 413, whether or not its length is stated."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        text = f"the request is over {LARGEST_BODY // 2**20} MB\n"
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdigit() or len(length) > 18 or int(length) > LARGEST_BODY:
            return await PlainTextResponse(text, 413)(scope, receive, send)
        received = 0

        async def counted():
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_BODY:  # nothing more is read
                raise HTTPException(413, text)
            return message

        await self.app(scope, counted, send)
