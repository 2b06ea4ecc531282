"""A name server that knows the regions' hosts and writes down every name it is asked for.

usage: names.py LOG NAME=ADDRESS...
"""

import socket
import sys

log = open(sys.argv[1], "w", buffering=1, encoding="ascii")
hosts = dict(pair.split("=") for pair in sys.argv[2:])
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
while True:
    query, client = server.recvfrom(512)
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    name, kind = ".".join(labels).lower(), query[at + 1 : at + 3]
    log.write(f"{name}\n")
    question, address = query[12 : at + 5], hosts.get(name)
    # RFC 1035, section 4.1: a known name has one address of class IN for a minute, and no other records.
    found = kind == b"\0\1" and address is not None
    code = b"\x81\x80" if address else b"\x81\x83"
    answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + socket.inet_aton(address) if found else b""
    server.sendto(query[:2] + code + b"\0\1" + (b"\0\1" if found else b"\0\0") + b"\0\0\0\0" + question + answer, client)
