"""Requests that tools do not make, by libnbd's bindings: `odd.py SOCKET`.

The export is 64 MiB in blocks of 512 bytes, zeroes are not fast, and the 4096 bytes at 32 MiB are
bad.
"""

import errno
import sys

import nbd

SOCKET = sys.argv[1]
SIZE = 64 << 20
BAD = 32 << 20
MOST = 32 << 20


def connect(name="disk", structured=True, contexts=(), before=None):
    h = nbd.NBD()
    # No request is held back because the client knows better.
    h.set_strict_mode(0)
    h.set_export_name(name)
    h.set_request_structured_replies(structured)
    for context in contexts:
        h.add_meta_context(context)
    if before:
        before(h)
    h.connect_unix(SOCKET)
    return h


def fails(number, call, *arguments):
    try:
        call(*arguments)
    except nbd.Error as error:
        assert error.errnum == number, (error.errno, error.string, number)
        return
    raise AssertionError(f"not refused: {call.__name__}{arguments}")


def requests(structured):
    h = connect(structured=structured)
    assert h.get_structured_replies_negotiated() == structured
    assert h.can_df() == structured
    assert h.get_size() == SIZE

    for read in (h.pread,):
        fails(errno.EINVAL, read, 512, 1)
        fails(errno.EINVAL, read, 100, 0)
        fails(errno.EINVAL, read, 512, SIZE)
        fails(errno.EINVAL, read, 1024, SIZE - 512)
        fails(errno.EINVAL, read, 512, (1 << 64) - 512)
        fails(errno.EOVERFLOW if structured else errno.EINVAL, read, MOST + 512, 0)
        fails(errno.EIO, read, 512, BAD)
        fails(errno.EIO, read, 8192, BAD - 4096)
    fails(errno.ENOSPC, h.pwrite, bytes(1024), SIZE - 512)
    fails(errno.EINVAL, h.pwrite, bytes(511), 0)
    fails(errno.EINVAL, h.pwrite, bytes(MOST + 512), 0)
    fails(errno.EIO, h.pwrite, bytes(4096), BAD)
    fails(errno.ENOSPC, h.zero, 512, SIZE)
    fails(errno.ENOSPC, h.zero, 0xFFFFFE00, 512)
    fails(errno.EINVAL, h.trim, 512, SIZE)
    fails(errno.EINVAL, h.cache, 512, SIZE)
    fails(errno.ENOTSUP, h.zero, 512, 0, nbd.CMD_FLAG_FAST_ZERO)
    fails(errno.EINVAL, h.zero, 512, 0, nbd.CMD_FLAG_DF)
    fails(errno.EINVAL, h.trim, 512, 0, nbd.CMD_FLAG_NO_HOLE)
    fails(errno.EINVAL, h.block_status, 512, 0, lambda *_: 0)

    # What is odd but makes sense.
    assert h.pread(0, 512) == b""
    h.pwrite(b"", 0)
    h.zero(0, 0)
    h.trim(0, 0)
    h.flush()
    h.flush(nbd.CMD_FLAG_FUA)
    h.cache(512, SIZE - 512)
    h.pwrite(b"last" * 128, SIZE - 512, nbd.CMD_FLAG_FUA)
    assert h.pread(512, SIZE - 512) == b"last" * 128
    h.trim(512, SIZE - 512, nbd.CMD_FLAG_FUA)
    h.zero(1 << 20, 0, nbd.CMD_FLAG_FUA | nbd.CMD_FLAG_NO_HOLE)
    if structured:
        h.pwrite(b"\x55" * 65536, 0)
        assert h.pread(65536, 0, nbd.CMD_FLAG_DF) == b"\x55" * 65536
        chunks = []
        h.pread_structured(
            65536, 0, lambda data, offset, kind, error: chunks.append((len(data), offset, kind))
        )
        assert chunks == [(65536, 0, nbd.READ_DATA)], chunks

    # The largest there is.
    data = bytes(range(256)) * (MOST // 512)
    h.pwrite(data, 4096)
    assert h.pread(len(data), 4096) == data
    h.shutdown()


def status():
    h = connect(contexts=("base:allocation", "x-hastlite:dirty", "x-other:thing"))
    assert h.can_meta_context("base:allocation")
    assert h.can_meta_context("x-hastlite:dirty")
    assert not h.can_meta_context("x-other:thing")
    h.zero(SIZE // 2, 0)
    h.pwrite(bytes(65536), 1 << 20)

    def ask(length, offset, flags=0):
        told = {}
        h.block_status(length, offset, lambda name, at, runs, error: told.update({name: runs}), flags)
        return told

    told = ask(2 << 20, 0)
    assert told["base:allocation"] == [1 << 20, 3, 65536, 0, (1 << 20) - 65536, 3], told
    assert told["x-hastlite:dirty"] == [2 << 20, 1], told
    told = ask(2 << 20, 0, nbd.CMD_FLAG_REQ_ONE)
    assert told["base:allocation"] == [1 << 20, 3], told
    told = ask(512, (1 << 20) - 512, nbd.CMD_FLAG_REQ_ONE)
    assert told["base:allocation"] == [512, 3], told
    fails(errno.EINVAL, ask, 0, 0)
    fails(errno.EINVAL, ask, 512, SIZE)
    fails(errno.EINVAL, ask, 512, 0, nbd.CMD_FLAG_DF)
    h.shutdown()


def options():
    h = connect(before=lambda h: h.set_opt_mode(True))
    exports = []
    assert h.opt_list(lambda name, description: exports.append((name, description))) == 1
    assert exports == [("disk", "a test's")], exports
    names = []
    h.opt_list_meta_context(names.append)
    assert names == ["base:allocation", "x-hastlite:dirty"], names
    h.set_export_name("other")
    fails(errno.ENOENT, h.opt_info)
    fails(errno.ENOENT, h.opt_go)
    h.set_export_name("x" * 4096)
    fails(errno.ENOENT, h.opt_info)
    h.set_export_name("")
    h.set_full_info(True)
    h.opt_info()
    assert h.get_size() == SIZE
    assert h.get_canonical_export_name() == "disk"
    assert h.get_export_description() == "a test's"
    assert h.get_block_size(nbd.SIZE_MINIMUM) == 512
    h.opt_go()
    assert h.pread(512, 0) is not None
    h.shutdown()

    h = connect(before=lambda h: h.set_opt_mode(True))
    h.opt_abort()

    # The old way in, with and without the zeroes behind it.
    for flags in (0, nbd.HANDSHAKE_FLAG_NO_ZEROES):
        h = connect(before=lambda h: h.set_handshake_flags(flags))
        assert h.get_protocol() == "newstyle", h.get_protocol()
        assert h.get_size() == SIZE
        h.flush()
        h.shutdown()
    try:
        connect(name="other", before=lambda h: h.set_handshake_flags(0))
        raise AssertionError("there is no such export")
    except nbd.Error:
        pass


def greedy():
    """Far more at a time than is taken, and answers that nobody reads for as long."""
    h = connect()
    h.set_pread_initialize(False)
    cookies = []
    buffers = [nbd.Buffer(1 << 20) for _ in range(200)]
    for n, buffer in enumerate(buffers):
        cookies.append(h.aio_pread(buffer, (n % 30) << 20))
    for _ in range(3000):
        cookies.append(h.aio_flush())
    for n in range(100):
        cookies.append(h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(1 << 20)), (n % 30) << 20))
    while cookies:
        cookies = [cookie for cookie in cookies if not h.aio_command_completed(cookie)]
        if cookies:
            h.poll(-1)
    # Leaving with requests in flight: they are answered first.
    cookies = [h.aio_flush() for _ in range(100)]
    h.aio_disconnect()
    while not (h.aio_is_closed() or h.aio_is_dead()):
        h.poll(-1)
    assert all(h.aio_command_completed(cookie) for cookie in cookies)


requests(True)
requests(False)
status()
options()
greedy()
