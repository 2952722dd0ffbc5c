"""IPTC's fields for pictures that a model drew, as the XMP packet of a file.

IPTC Photo Metadata Standard 2025.1: Digital Source Type, AI System Used, AI System Version Used, AI Prompt Information.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from sumi.trust.credentials import GENERATED

__all__ = ["make_xmp"]

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def make_xmp(system: str, version: str, prompt: str = "", source_type: str = GENERATED) -> bytes:
    """Return the XMP packet of a picture.

    Args:
        system: the program and its model.
        version: of the program.
        prompt: what the picture was drawn from; left out where it is empty.
        source_type: IPTC's digital source type, an address.
    """
    fields = {
        "DigitalSourceType": source_type,
        "AISystemUsed": system,
        "AISystemVersionUsed": version,
        "AIPromptInformation": prompt,
    }
    lines = "".join(
        f"\n   <Iptc4xmpExt:{name}>{escape(_NOT_XML.sub(' ', value))}</Iptc4xmpExt:{name}>"
        for name, value in fields.items()
        if value
    )
    return _PACKET.format(lines).encode()


_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">{}
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>"""
