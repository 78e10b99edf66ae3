"""Python's ways to a server: fetch.py WAY URL. What comes back goes to standard output."""
import socket
import sys
from urllib.parse import urlsplit


def urllib(url: str) -> bytes:
    from urllib.request import urlopen
    return urlopen(url, timeout=10).read()


def requests(url: str) -> bytes:
    import requests
    return requests.get(url, timeout=10).content


def aiohttp(url: str) -> bytes:
    import asyncio

    import aiohttp

    async def get() -> bytes:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(10)) as session, session.get(url) as response:
            return await response.read()
    return asyncio.run(get())


def talk(url: str) -> bytes:
    """The server speaks first, as MySQL's does, and then answers one line."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as stream, stream.makefile("rwb") as lines:
        greeting = lines.readline()
        assert greeting == b"8.0-world\n", greeting
        lines.write(where.path.split("/")[1].encode() + b"\n")
        lines.flush()
        return lines.read()


if __name__ == "__main__":
    sys.stdout.buffer.write({"urllib": urllib, "requests": requests, "aiohttp": aiohttp, "talk": talk}[sys.argv[1]](sys.argv[2]))
