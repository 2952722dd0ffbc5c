"""Requests that nobody honest sends, made by script: what is said, how it is wrapped, and where it is sent.

prompts                    injection, filters that are walked around
documents, forms           parsers that are kept busy
headers, paths, addresses  files and hosts that are none of a client's business
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from bad_pictures import LOOK, Case, picture, png, saved
from PIL import Image

JSON = {"Content-Type": "application/json"}
DRAW = "/v1/images/generations"
QUICK = {"size": "16x16", "steps": 1}


def prompts() -> Iterator[Case]:
    said = {
        "nothing": "",
        "a space": " ",
        "no word": "\u200b\u2060",
        "4,001 characters": "a" * 4001,
        "32,001 characters": "a" * 32_001,
        "100,000": "fox " * 25_000,
        "NUL": "a\0fox",
        "controls": "a\x1b[2J\x07fox",
        "lines": "a\r\n\r\nfox",
        "RTL": "\u202efox\u202c",
        "bidi": "\u2066a\u2067fox\u2069",
        "ZWJ": "👩\u200d👩\u200d👧",
        "flag": "🏴\U000e0067\U000e0062\U000e007f",
        "NFC": "caf\u00e9",
        "NFD": "cafe\u0301",
        "Zalgo": "f" + "\u0301" * 500,
        "homoglyphs": "а red fох",
        "HTML": "<script>alert(1)</script>",
        "SQL": "'; DROP TABLE jobs; --",
        "template": "{{7*7}}",
        "format": "%s%n{0}",
        "path": "../../../fox",
        "shell": "$(reboot)",
        "BOM": "\ufefffox",
        "private": "\ue000",
        "not a character": "\uffff",
        "astral": "\U0010ffff",
        "emoji": "🦊" * 1000,
        "quotes": '"' * 999,
        "one word": "a" * 4000,
        "tabs": "\t" * 100,
        "CJK": "狐" * 1000,
        "header": "x\r\nSet-Cookie: a=b",
        "backslashes": "\\" * 1000,
    }
    never = {"nothing", "a space", "no word", "4,001 characters", "32,001 characters", "100,000", "NUL", "tabs"}
    for name, prompt in said.items():
        yield Case(f"prompt: {name}", "POST", DRAW, name in never, {"json": {"prompt": prompt} | QUICK})
    for escape in ("\\ud800", "\\udfff fox", "\\udc00\\ud800"):
        body = f'{{"prompt": "{escape}", "size": "16x16", "steps": 1}}'.encode()
        yield Case(f"prompt: {escape}", "POST", DRAW, True, {"content": body, "headers": JSON})
    yield Case("prompt of broken UTF-8", "POST", DRAW, True, {"content": b'{"prompt": "\xff"}', "headers": JSON})


def documents() -> Iterator[Case]:
    bodies = {
        "1,000 deep": b"[" * 1000 + b"]" * 1000,
        "100,000 deep": b"[" * 100_000,
        "objects deep": b'{"a":' * 5000,
        "nothing": b"",
        "null": b"null",
        "a list": b"[]",
        "a number": b"7",
        "text": b'"fox"',
        "cut": b'{"prompt": "a',
        "NaN": b'{"prompt": "a", "guidance_scale": NaN}',
        "1e309": b'{"prompt": "a", "guidance_scale": 1e309}',
        "-Infinity": b'{"prompt": "a", "guidance_scale": -Infinity}',
        "UTF-7": b"+AHsAfQ-",
        "NUL": b"\0",
        "a comma": b'{"prompt": "a",}',
        "a huge integer": b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}",
        "a huge n": b'{"prompt": "a", "n": 99999999999999999999}',
        "a comment": b'{"prompt": "a" /* */}',
        "quotes": b"{'prompt': 'a'}",
        "XML": b"<prompt>a</prompt>",
        "form": b"prompt=a",
    }
    for name, body in bodies.items():
        yield Case(f"JSON: {name}", "POST", DRAW, True, {"content": body, "headers": JSON})
    wrong: dict[str, list[Any]] = {
        "prompt": [None, 7, [], {}, True],
        "n": ["2", 1.5, True, 0, -1, 11, []],
        "size": [16, "0x0", "-1x-1", "16", "1e9x1", "16X16"],
        "seed": [-1, 2**63, "x", 1.5],
        "steps": [0, 1001, "4", -5],
        "guidance_scale": [-1, 31, "2"],
        "quality": ["best", 1],
        "background": ["#12345", "red", 0],
        "output_format": ["gif", "svg", "exe"],
        "output_compression": [-1, 101],
        "response_format": ["png"],
        "partial_images": [4, -1, 1],
        "stream": ["yes", 2],
        "model": ["x", 3, "../tiny"],
        "user": [5, "a" * 300],
        "best_of": [0, 257],
        "__proto__": [{}],
        "moderation": ["none"],
        "style": ["loud"],
    }
    for name, values in wrong.items():
        for value in values:
            said = {"prompt": "a fox", **QUICK, name: value}
            yield Case(f"JSON: {name} = {value!r:.30}", "POST", DRAW, True, {"json": said})
    twice = b'{"prompt": "", "prompt": "a fox", "size": "16x16", "steps": 1}'
    yield Case("JSON: a key twice", "POST", DRAW, False, {"content": twice, "headers": JSON})
    yield Case("JSON: BOM", "POST", DRAW, False, {"content": b"\xef\xbb\xbf" + twice, "headers": JSON})
    yield Case("JSON: UTF-16", "POST", DRAW, False, {"content": twice.decode().encode("utf-16"), "headers": JSON})
    for kind, more in (
        ("melt", {}),
        ("vary", {}),
        ("generate", {"eta": 1}),
        ("restyle", {}),
        ("blend", {"images": []}),
    ):
        yield Case(f"job: {kind}", "POST", "/v1/jobs", True, {"json": {"kind": kind, **more}})
    asked: tuple[tuple[str, dict[str, Any]], ...] = (
        ("embeddings", {"input": [], "model": "tiny"}),
        ("embeddings", {"input": [[1, 2]], "model": "tiny"}),
        ("embeddings", {"input": "\u200b", "model": "tiny"}),
        ("embeddings", {"input": "a" * 4001, "model": "tiny"}),
        ("moderations", {"input": []}),
        ("moderations", {"input": [{"type": "audio"}]}),
    )
    for route, sent in asked:
        yield Case(f"{route}: {str(sent)[:40]}", "POST", f"/v1/{route}", True, {"json": sent})


def forms() -> Iterator[Case]:
    whole = saved(picture(), "PNG")
    edges = {
        "no boundary": (b"--x\r\n", "multipart/form-data"),
        "an empty one": (b"", "multipart/form-data; boundary="),
        "another": (b"--y\r\n\r\n--y--", "multipart/form-data; boundary=x"),
        "a long one": (b"", f"multipart/form-data; boundary={'x' * 5000}"),
        "no end": (
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
            "multipart/form-data; boundary=x",
        ),
        "no name": (b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        "long head": (b"--x\r\n" + b"a" * 100_000, "multipart/form-data; boundary=x"),
        "many heads": (b"--x\r\n" + b"a: b\r\n" * 5000 + b"\r\n\r\n--x--", "multipart/form-data; boundary=x"),
        "charset": (b"--x--\r\n", "multipart/form-data; boundary=x; charset=utf-7"),
        "text": (b"a", "text/plain"),
        "none": (b"a", ""),
        "mixed": (b"--x--\r\n", "multipart/mixed; boundary=x"),
        "urlencoded": (b"file=a", "application/x-www-form-urlencoded"),
    }
    for path in (LOOK, "/v1/images/edits", "/v1/images/variations"):
        for name, (body, kind) in edges.items():
            yield Case(f"form: {name}", "POST", path, True, {"content": body, "headers": {"Content-Type": kind}})
    fields = {f"field{number}": "1" for number in range(10_000)}
    yield Case("form: 10,000 fields", "POST", LOOK, True, {"data": fields, "files": {"file": ("a.png", whole)}})
    yield Case(
        "form: a giant field",
        "POST",
        "/v1/images/edits",
        True,
        {"data": {"prompt": "a" * 10**6}, "files": {"image": whole}},
    )
    for files in ([("file", b"")], [("file", whole)] * 2, [("files", whole)], [("file", whole)] * 30):
        yield Case(f"form: {len(files)} {files[0][0]}", "POST", LOOK, True, {"files": files})
    said: list[dict[str, Any]] = [
        {},
        {"prompt": ""},
        {"prompt": "a", "n": "two"},
        {"prompt": "a", "stream": "maybe"},
        {"prompt": ["a", "b"]},
        {"prompt": "a", "x": "1"},
        {"prompt": "a", "size": "3x3"},
        {"prompt": "a", "seed": "NaN"},
        {"prompt": "a", "guidance_scale": "inf"},
        {"prompt": "a", "image": "text"},
    ]
    for data in said:
        yield Case(
            f"edit: {data}", "POST", "/v1/images/edits", True, {"data": data, "files": {"image": ("a.png", whole)}}
        )
    masks = {
        "opaque": whole,
        "of another size": saved(Image.new("RGBA", (3, 3)), "PNG"),
        "of nothing": saved(picture("RGBA"), "PNG"),
    }
    for name, mask in masks.items():
        both = {"image": ("a.png", whole), "mask": ("m.png", mask)}
        yield Case(f"edit: a mask {name}", "POST", "/v1/images/edits", True, {"data": {"prompt": "a"}, "files": both})


def headers() -> Iterator[Case]:
    for name, value, refused in (
        ("Range", "bytes=0-0,-1," + "0-1," * 1000, False),
        ("Accept", "x" * 5000, False),
        ("Accept-Encoding", "gzip;q=NaN", False),
        ("Origin", "null", True),
        ("Origin", "file://", True),
        ("Host", "169.254.169.254", True),
        ("Host", "a.example.org:80", True),
        ("Host", "localhost:99999999", True),
        ("X-Forwarded-Host", "example.org", False),
        ("X-Forwarded-For", "1.2.3.4", False),
        ("Forwarded", "for=unknown", False),
        ("X-HTTP-Method-Override", "DELETE", False),
        ("Expect", "100-continue", False),
        ("Cookie", "a=" + "b" * 4000, False),
        ("If-None-Match", "*", False),
        ("Idempotency-Key", "x" * 256, False),
        ("Content-Encoding", "gzip", False),
        ("Upgrade", "websocket", False),
        ("Connection", "upgrade", False),
        ("TE", "trailers", False),
        ("Authorization", "Bearer " + "x" * 9000, True),
        ("X-A", "b" * 60_000, False),
    ):
        yield Case(f"header: {name}: {value[:30]}", "GET", "/v1/models", refused, {"headers": {name: value}})
    for value in ("x" * 256, ""):
        sent = {
            "headers": {"Idempotency-Key": value},
            "json": {"kind": "generate", "prompt": "a", "steps": 1, "size": 16},
        }
        yield Case(f"Idempotency-Key: {value[:9]!r}", "POST", "/v1/jobs", True, sent)


def paths() -> Iterator[Case]:
    names = [
        "../sumi.db",
        "..%2fsumi.db",
        "%2e%2e/%2e%2e/sumi.db",
        "....//sumi.db",
        "/dev/null",
        "%2fdev%2fnull",
        "C:%5Cwindows",
        "a%00.png",
        "%ff",
        "%c0%ae%c0%ae",
        "~",
        ".",
        "..",
        "%20",
        "a" * 5000,
        "links.secret",
        "%0d%0aX: y",
        "*",
        "{}",
        "|ls",
        "'--",
        "%252e%252e",
        "名",
    ]
    for start in ("/v1/files/", "/v1/gallery/", "/v1/jobs/", "/v1/models/", "/"):
        for name in names:
            yield Case(
                f"path: {start}{name[:20]}", "GET", start + name, start != "/v1/jobs/" and name not in (".", "..")
            )
    for query in (
        "limit=0",
        "limit=101",
        "limit=x",
        "after=nothing",
        "status=lost",
        "limit=1e3",
        "limit=" + "9" * 5000,
    ):
        yield Case(f"query: {query[:20]}", "GET", f"/v1/jobs?{query}", True)
    for query in (
        "words=%00",
        "words=%25_%5C",
        "words=" + "a" * 401,
        "meaning=",
        "meaning=%E2%80%8B",
        "after=%00",
        "words=%ff",
    ):
        yield Case(f"query: {query[:20]}", "GET", f"/v1/gallery?{query}")
    for method in ("TRACE", "CONNECT", "PUT", "PATCH", "DELETE", "PROPFIND", "A" * 100):
        yield Case(f"method: {method[:9]}", method, "/v1/models", True)


def addresses() -> Iterator[Case]:
    scheme = "http:" + "//"
    urls = [
        scheme + "169.254.169.254/latest/meta-data",
        scheme + "2130706433",
        scheme + "0x7f.1",
        scheme + "[::1]",
        scheme + "localhost:22",
        "file:" + "///dev/null",
        "file:sumi.db",
        "ftp:" + "//example.org/a.png",
        "gopher:" + "//example.org",
        "data:,",
        "data:text/html;base64,aGk=",
        "data:image/png;base64,",
        "data:image/png;base64,!!!!",
        "data:image/png,abc",
        "data:image/svg+xml;base64,PHN2Zy8+",
        "",
        " ",
        "//example.org",
        "javascript:alert(1)",
        "DATA:image/png;base64,aaaa",
        "data:image/png;base64," + base64.b64encode(png(50_000, 50_000)).decode(),
    ]
    for url in urls:
        body = {"prompt": "a", "images": [{"image_url": url}]}
        yield Case(f"address: {url[:40]}", "POST", "/v1/images/edits", True, {"json": body})
        job = {"kind": "vary", "images": [{"image_url": url}]}
        yield Case(f"job of: {url[:40]}", "POST", "/v1/jobs", True, {"json": job})
    for picture_id in ("pic_1", "../pic", "a" * 41, "\0", "%"):
        body = {"kind": "vary", "images": [{"picture": picture_id}]}
        yield Case(
            f"picture: {picture_id[:9]!r}",
            "POST",
            "/v1/jobs",
            True,
            {"content": json.dumps(body).encode(), "headers": JSON},
        )


REQUESTS = (prompts, documents, forms, headers, paths, addresses)
