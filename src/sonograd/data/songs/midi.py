"""Write General MIDI files: only what a synthesizer needs to play our notes."""

import struct
from dataclasses import dataclass, field

__all__ = ["MidiFile"]


def _variable_length(value: int) -> bytes:
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append((value & 0x7F) | 0x80)
    return bytes(reversed(parts))


@dataclass(slots=True)
class MidiFile:
    """Collects events at times in seconds, to the millisecond; :meth:`to_bytes` writes them."""

    events: list[tuple[int, int, bytes]] = field(default_factory=list)

    def _add(self, seconds: float, order: int, *message: int) -> None:
        self.events.append((max(round(1000 * seconds), 0), order, bytes(message)))

    def program(self, seconds: float, channel: int, program: int) -> None:
        """Choose the instrument of a channel (the drum kit of channel 9)."""
        self._add(seconds, 1, 0xC0 | channel, program & 0x7F)

    def note(self, seconds: float, duration: float, channel: int, key: int, velocity: int) -> None:
        """Play a note."""
        key, velocity = min(max(key, 0), 127), min(max(velocity, 1), 127)
        self._add(seconds, 3, 0x90 | channel, key, velocity)
        self._add(max(seconds, 0.0) + max(duration, 0.01), 2, 0x80 | channel, key, 0)

    def bend(self, seconds: float, channel: int, semitones: float) -> None:
        """Bend the pitch, up to two semitones either way."""
        value = min(max(round(8192 + 4096 * semitones), 0), 16383)
        self._add(seconds, 2, 0xE0 | channel, value & 0x7F, value >> 7)

    def silence(self, seconds: float, channel: int) -> None:
        """Cut everything that sounds on a channel."""
        self._add(seconds, 0, 0xB0 | channel, 120, 0)

    def to_bytes(self, seconds: float) -> bytes:
        """Return the file, ``seconds`` long."""
        track = bytearray(b"\x00\xff\x51\x03" + (1_000_000).to_bytes(3, "big"))
        last = 0
        for time, _, message in sorted(self.events, key=lambda event: event[:2]):
            track += _variable_length(time - last) + message
            last = time
        rest = max(round(1000 * seconds) - last, 0)
        track += _variable_length(rest) + b"\xff\x2f\x00"
        header = b"MThd" + struct.pack(">IHHH", 6, 0, 1, 1000)
        return header + b"MTrk" + struct.pack(">I", len(track)) + bytes(track)
