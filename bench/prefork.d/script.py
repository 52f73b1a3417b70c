"""A Python script with some of its library, and the server's side of prefork-interp(1) in as few
lines as it takes: there is no module for Python. One monitor and one executor a call, as the Perl
module has them; nothing is reloaded, limited or logged."""

import argparse
import asyncio
import datetime
import decimal
import email.message
import json
import os
import select
import signal
import socket
import struct
import sys
import urllib.request
import xml.dom.minidom


def exactly(call, length):
    data = b""
    while len(data) < length:
        more = call.recv(length - len(data))
        if not more:
            os._exit(0)
        data += more
    return data


def monitor(call):
    """Returns in the executor, and nowhere else."""
    os.setpgid(0, 0)
    call.setblocking(True)
    call.sendall(b"PFI\n" + struct.pack(">I", 0))
    exactly(call, 1)
    given = []
    for _ in range(3):
        data, descriptors, _, _ = socket.recv_fds(call, 1, 1)
        if not data or len(descriptors) != 1:
            os._exit(1)
        given += descriptors
    (length,) = struct.unpack(">I", exactly(call, 4))
    pieces = exactly(call, length).split(b"\0")
    end = pieces.index(b"")
    child = os.fork()
    if child == 0:
        call.close()
        for number, descriptor in enumerate(given):
            os.dup2(descriptor, number)
            os.close(descriptor)
        environment = dict(piece.split(b"=", 1) for piece in pieces[:end])
        os.environb.clear()
        os.environb.update(environment)
        sys.argv[:] = [os.fsdecode(piece) for piece in pieces[end + 2:-1]]
        return
    for descriptor in given:
        os.close(descriptor)
    ended = os.pidfd_open(child)
    readable, _, _ = select.select([call, ended], [], [])
    if ended not in readable:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.kill(0, signal.SIGINT)
    _, status = os.waitpid(child, 0)
    try:
        call.sendall(struct.pack(">I", status))
    except OSError:
        pass
    os._exit(0)


def initialised():
    told = os.environ.get("PREFORK_INTERP")
    if told is None:
        return
    listen, call, held, errors = (int(number) for number in told.split(" ")[1].split(",")[:4])
    listen, call = socket.socket(fileno=listen), socket.socket(fileno=call)
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork() == 0:
        listen.close()
        os.close(held)
        os.close(errors)
        return monitor(call)
    call.close()
    null = os.open("/dev/null", os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    while True:
        readable, _, _ = select.select([listen, errors], [], [], 60)
        while True:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    break
            except ChildProcessError:
                break
        if errors in readable:
            os._exit(0)
        if listen in readable:
            try:
                call, _ = listen.accept()
            except OSError:
                continue
            if os.fork() == 0:
                listen.close()
                os.close(held)
                os.close(errors)
                return monitor(call)
            call.close()


initialised()
message = email.message.EmailMessage()
message["Date"] = datetime.datetime.now(datetime.timezone.utc)
message.set_content(json.dumps({"words": sys.argv[1:], "half": str(decimal.Decimal("0.5"))}))
sys.stdout.write(message.as_string())
sys.stdout.flush()
# At once, as the Perl scripts do.
os._exit(0)
