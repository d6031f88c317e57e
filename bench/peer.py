"""The DemoController as most people would serve it: FastAPI on uvicorn, one process that serves every request.

It is no equal: requests share a process and nothing is confined. It says what HTTP, validation and the same work cost here.
"""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

app = FastAPI()


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")

    message: str = Field(min_length=1, max_length=1000)


class Output(BaseModel):
    reply: str
    length: int = Field(ge=0)


@app.post("/api/execute/DemoController")
async def execute(input: Input) -> Output:
    message = input.message.strip()
    if not message:
        return Output(reply="You sent only blanks.", length=0)
    return Output(reply=f"You said: {message}", length=len(message))
