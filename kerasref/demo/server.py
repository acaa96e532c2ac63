"""What the page's server refuses: large bodies, foreign origins, addresses that the browser is not to ask."""

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
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        foreign = origin is not None and origin.partition("://")[2] != headers.get("host")
        if foreign or (site == "cross-site" and scope["method"] not in ("GET", "HEAD")):
            return await refuse(send, 403, "requests from pages of other origins are refused")

        async def with_headers(message):
            if message["type"] == "http.response.start":
                extra = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        await self.app(scope, receive, with_headers)


class LimitBody:
    """ASGI middleware: a request's body over LARGEST_BODY is refused with 413, whether or not its length is stated."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        text = f"the request is over {LARGEST_BODY // 2**20} MB"
        length = dict(scope.get("headers") or ()).get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 18 or int(length) > LARGEST_BODY:
            return await refuse(send, 413, text)
        received, started = 0, False

        async def counted():
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_BODY:  # nothing more is read; to the page it is as if the sender had gone
                return {"type": "http.disconnect"}
            return message

        async def answered(message):
            nonlocal started
            if started or received <= LARGEST_BODY:
                started = True
                await send(message)

        try:
            await self.app(scope, counted, answered)
        except Exception:
            if started or received <= LARGEST_BODY:
                raise
        if received > LARGEST_BODY and not started:
            await refuse(send, 413, text)


async def refuse(send, status: int, text: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"{text}\n".encode()})
