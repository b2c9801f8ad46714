"""Small real files made on the spot: PNG, PDF, Ogg/Opus, MP3; and reading the size of an image."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache

OPUS_SILENCE = b"\xf8\xff\xfe"
SAMPLES_PER_FRAME = 960


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@lru_cache(maxsize=64)
def png(width: int, height: int, hue: int = 0) -> bytes:
    """Draw a soft diagonal gradient with a sun."""
    base = [(66, 133, 190), (196, 108, 92), (94, 156, 105), (142, 104, 178)][hue % 4]
    palette = bytes(min(255, int(part * (0.55 + i / 255 * 0.75))) for i in range(256) for part in base)
    sun_x, sun_y, radius = width * 0.72, height * 0.3, min(width, height) * 0.16
    rows = bytearray()
    for y in range(height):
        row = bytearray(((x * 110 // width) + (y * 110 // height)) & 0xFF for x in range(width))
        reach = radius * radius - (y - sun_y) ** 2
        if reach > 0:
            left, right = int(sun_x - reach**0.5), int(sun_x + reach**0.5)
            row[left:right] = b"\xff" * (right - left)
        rows += b"\0" + row[:width]
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"PLTE", palette)
        + _chunk(b"IDAT", zlib.compress(bytes(rows), 6))
        + _chunk(b"IEND", b"")
    )


def pdf(text: str = "Price list") -> bytes:
    """Write a one-page PDF with one line of Latin text."""
    stream = f"BT /F1 24 Tf 72 720 Td ({text}) Tj ET".encode("latin-1", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return bytes(out + b"trailer << /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start)


def _ogg_crc_table() -> list[int]:
    table = []
    for i in range(256):
        value = i << 24
        for _ in range(8):
            value = ((value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
        table.append(value)
    return table


def _ogg_page(packets: list[bytes], position: int, number: int, flags: int) -> bytes:
    lacing = bytes(len(packet) for packet in packets)
    page = (
        struct.pack("<4sBBqIIIB", b"OggS", 0, flags, position, 1, number, 0, len(packets)) + lacing + b"".join(packets)
    )
    table, crc = _ogg_crc_table(), 0
    for byte in page:
        crc = ((crc << 8) & 0xFFFFFFFF) ^ table[(crc >> 24) ^ byte]
    return page[:22] + struct.pack("<I", crc) + page[26:]


@lru_cache(maxsize=16)
def ogg(seconds: int = 3) -> bytes:
    """Record silence as Ogg/Opus, mono (RFC 7845)."""
    head = struct.pack("<8sBBHIhB", b"OpusHead", 1, 1, 312, 16000, 0, 0)
    tags = b"OpusTags" + struct.pack("<I", 7) + b"sandbox" + struct.pack("<I", 0)
    pages = [_ogg_page([head], 0, 0, 2), _ogg_page([tags], 0, 1, 0)]
    for second in range(seconds):
        flags = 4 if second == seconds - 1 else 0
        pages.append(_ogg_page([OPUS_SILENCE] * 50, (second + 1) * 50 * SAMPLES_PER_FRAME, second + 2, flags))
    return b"".join(pages)


def mp3(seconds: int = 3) -> bytes:
    """Record silence as MPEG-1 layer III, 128 kbit/s, 44.1 kHz, mono."""
    return (b"\xff\xfb\x90\xc4" + bytes(413)) * (seconds * 38)


def image_size(content: bytes) -> tuple[int, int] | None:
    """Read width and height of a PNG, GIF or JPEG; None for anything else."""
    if content.startswith(b"\x89PNG\r\n\x1a\n") and len(content) >= 24:
        return struct.unpack(">II", content[16:24])
    if content[:6] in (b"GIF87a", b"GIF89a"):
        return struct.unpack("<HH", content[6:10])
    if content.startswith(b"\xff\xd8"):
        return _jpeg_size(content)
    return None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 < len(content) and content[place] == 0xFF:
        marker, length = content[place + 1], struct.unpack(">H", content[place + 2 : place + 4])[0]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", content[place + 5 : place + 9])
            return width, height
        place += 2 + length
    return None
