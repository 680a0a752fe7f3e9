"""A WebSocket that says what it hears.

pillion serve websocket_echo.py:Echo
python -m websockets ws://127.0.0.1:8080/echo
"""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

import pillion

app = FastAPI()


@pillion.ingress(app)
class Echo:
    def __init__(self) -> None:
        self.codes: list[int] = []

    @app.websocket("/echo")
    async def echo(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            while True:
                await socket.send_text(await socket.receive_text())
        except WebSocketDisconnect as gone:
            self.codes.append(gone.code)

    @app.get("/codes")
    async def closed_with(self) -> list[int]:
        return self.codes
