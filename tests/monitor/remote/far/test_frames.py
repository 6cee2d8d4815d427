"""Frames are taken whole or not at all, however the bytes come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.monitor.remote.far import FrameDecoder, FrameProblem, Tier, encode_request, far_script
from pylon.monitor.remote.far.frames import MOST_BYTES


def encoded(sequence: int, sections=None, *, clocks: str = "12.34 - -", version: int = 1) -> bytes:
    sections = {"loadavg": ["0.1 0.2 0.3"]} if sections is None else sections
    body = b"".join(
        f"@{name} {len(lines)}\n".encode() + b"".join(_line(one) for one in lines)
        for name, lines in sections.items()
    )
    return (
        f"%PYLON {version} {sequence} {len(body)} {len(sections)} {clocks}\n".encode()
        + body
        + f"%END {sequence}\n".encode()
    )


def _line(text) -> bytes:
    return (text if isinstance(text, bytes) else text.encode()) + b"\n"


def problems(decoder: FrameDecoder) -> list[FrameProblem]:
    return [one.problem for one in decoder.take_rejections()]


def test_a_frame_has_its_sections_and_clocks() -> None:
    decoder = FrameDecoder()
    data = encoded(7, {"a": ["1", "@b 2"], "c": []}, clocks="100.50 90.50 1700000000.25")
    (frame,) = decoder.feed(data)
    assert frame.sequence == 7
    assert frame.sections == {"a": ("1", "@b 2"), "c": ()}
    assert frame.uptime_s == 100.5
    assert frame.wall_time_s == 1700000010.25
    assert frame.size_bytes == len(data)
    assert problems(decoder) == []


def test_without_clocks_there_are_none() -> None:
    (frame,) = FrameDecoder().feed(encoded(1, clocks="- - -"))
    assert (frame.uptime_s, frame.wall_time_s) == (None, None)
    (frame,) = FrameDecoder().feed(encoded(1, clocks="- - 1700000000"))
    assert frame.wall_time_s == 1700000000.0


@pytest.mark.parametrize(
    "greeting",
    [b"Welcome to gpu1\n\xff\xfe\n", b"prompt> ", b"%PYLON users only\n", b"\x1b[2J", b"%PYLON 1 2 "],
)
def test_a_greeting_is_no_problem_and_is_kept(greeting) -> None:
    decoder = FrameDecoder()
    assert len(decoder.feed(greeting + encoded(1))) == 1
    assert problems(decoder) == []
    assert decoder.greeting.isprintable()


def test_a_refusal_can_be_read_where_no_frame_comes() -> None:
    decoder = FrameDecoder()
    decoder.feed(b"This account is currently not available.\n")
    assert "not available" in decoder.greeting


@given(st.lists(st.integers(1, 40), min_size=1), st.binary(max_size=20))
def test_chunks_do_not_matter(sizes, greeting) -> None:
    data = greeting.replace(b"%", b"") + encoded(1) + encoded(2, {"a": ["x" * 100]}) + encoded(5)
    decoder, found, place = FrameDecoder(), [], 0
    while place < len(data):
        size = sizes[place % len(sizes)]
        found += decoder.feed(data[place : place + size])
        place += size
    assert [one.sequence for one in found] == [1, 2, 5]
    assert problems(decoder) == []


def test_garbage_between_frames_is_named_once() -> None:
    decoder = FrameDecoder()
    found = decoder.feed(encoded(1) + b"nvidia-smi: \x1b[31m" * 50)
    found += decoder.feed(b"more" * 50 + encoded(2))
    assert [one.sequence for one in found] == [1, 2]
    (rejection,) = decoder.take_rejections()
    assert rejection.problem is FrameProblem.GARBAGE
    assert rejection.text.isprintable()


def test_bytes_written_into_a_frame_spoil_it_and_no_other() -> None:
    decoder = FrameDecoder()
    data = encoded(1)
    found = decoder.feed(data[:40] + b"oops" + data[40:] + encoded(2))
    assert [one.sequence for one in found] == [2]
    assert problems(decoder) in ([FrameProblem.NO_END], [FrameProblem.PARTIAL])


def test_a_frame_cut_by_the_next_is_partial() -> None:
    decoder = FrameDecoder()
    found = decoder.feed(encoded(1, {"a": ["x" * 50]})[:60] + encoded(2, {"a": ["y" * 60]}))
    assert [one.sequence for one in found] == [2]
    assert problems(decoder) == [FrameProblem.PARTIAL]


def test_a_stream_that_ends_in_a_frame_is_partial() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(encoded(1)[:-1]) == []
    decoder.close()
    assert problems(decoder) == [FrameProblem.PARTIAL]


def test_an_older_answer_is_reordered() -> None:
    decoder = FrameDecoder()
    found = decoder.feed(encoded(5) + encoded(4) + encoded(5) + encoded(6))
    assert [one.sequence for one in found] == [5, 6]
    assert problems(decoder) == [FrameProblem.REORDERED] * 2


def test_an_answer_to_what_was_not_asked_is_refused() -> None:
    decoder = FrameDecoder()
    decoder.asked = 3
    assert [one.sequence for one in decoder.feed(encoded(4) + encoded(3))] == [3]
    assert problems(decoder) == [FrameProblem.UNASKED]


def test_another_version_is_refused() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(encoded(1, version=2) + encoded(2))[0].sequence == 2
    assert problems(decoder) == [FrameProblem.VERSION]


def test_an_oversized_frame_is_refused_before_it_is_there() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(f"%PYLON 1 1 {MOST_BYTES + 1} 1 - - -\n".encode()) == []
    assert problems(decoder) == [FrameProblem.OVERSIZED]
    assert [one.sequence for one in decoder.feed(b"@a 1\nx\n" * 100 + encoded(2))] == [2]


def test_a_flood_takes_bounded_memory_and_is_named() -> None:
    decoder = FrameDecoder()
    for _ in range(40):
        decoder.feed(b"%PYLON" * 10_000)
        assert len(decoder._data) < 2 * MOST_BYTES
    assert set(problems(decoder)) == {FrameProblem.OVERSIZED}
    decoder.feed(f"%PYLON 1 1 {MOST_BYTES} 1 - - -\n".encode() + b"x" * (5 * MOST_BYTES))
    assert len(decoder._data) < 2 * MOST_BYTES


@pytest.mark.parametrize("line", [b"\xff\xfe", b"\x1b[31m", b"\x00", b"\r", b"\xc2\x9b31m"])
def test_what_is_no_text_is_refused(line) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(encoded(1, {"system": [b"hostname " + line]})) == []
    assert problems(decoder) == [FrameProblem.NOT_TEXT]


@pytest.mark.parametrize(
    "body",
    [
        b"@a 2\nx\n",
        b"x\n",
        b"@a 0\n@a 0\n",
        b"@a 1\nx\ny\n",
        b"@a -1\n",
        b"@a 1\nx",
        b"@A 0\n",
        b"@a 99999999\n",
    ],
)
def test_sections_that_do_not_add_up_are_refused(body) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(b"%%PYLON 1 1 %d 1 - - -\n%b%%END 1\n" % (len(body), body)) == []
    assert problems(decoder) == [FrameProblem.SECTIONS]


def test_a_header_that_breaks_off_is_named() -> None:
    decoder = FrameDecoder()
    decoder.feed(encoded(1))
    assert [one.sequence for one in decoder.feed(b"%PYLON 1 x\n" + encoded(2))] == [2]
    assert problems(decoder) == [FrameProblem.HEADER]
    assert decoder.feed(b"%PYLON " + b"9" * 500) == []
    assert problems(decoder) == [FrameProblem.HEADER]


@given(
    st.lists(st.one_of(st.binary(max_size=60), st.just(b"%PYLON 1 1 9 1 "), st.just(encoded(3))), max_size=8)
)
def test_any_bytes_give_whole_frames_or_problems(parts) -> None:
    decoder, found = FrameDecoder(), []
    for part in parts:
        found += decoder.feed(part)
    decoder.close()
    for rejection in decoder.take_rejections():
        assert isinstance(rejection.problem, FrameProblem)
        assert rejection.text.isprintable()
    assert all(one.sections == {"loadavg": ("0.1 0.2 0.3",)} for one in found if one.sequence == 3)


@given(st.integers(0, 200), st.integers(0, 255))
def test_one_changed_byte_never_gives_half_a_frame(place, value) -> None:
    good = {"a": ["1 2 3", "4 5 6"], "b": ["x"]}
    data = bytearray(encoded(1, good))
    data[place % len(data)] = value
    decoder = FrameDecoder()
    for frame in decoder.feed(bytes(data) + encoded(2, good)):
        # A changed letter is a changed letter; what belongs to which section is not in doubt.
        assert [len(lines) for lines in frame.sections.values()] == [2, 1]


def test_requests_are_one_line_each() -> None:
    assert encode_request(3) == b"T 3 fast 1000\n"
    assert encode_request(4, {Tier.PROCESSES, Tier.SLOW}, 0) == b"T 4 fast+slow+processes 0\n"
    for numbers in ((-1, 0), (2**31, 0), (1, -5), (1, 10**9)):
        with pytest.raises(ValueError, match="expected 0 to"):
            encode_request(numbers[0], (), numbers[1])


def test_the_script_is_plain_and_has_no_comments() -> None:
    text = far_script().decode("ascii")
    assert text.endswith("\n#end-of-script\n")
    assert not any(line.lstrip().startswith("#") for line in text.splitlines()[:-1])
    assert "<<" not in text
