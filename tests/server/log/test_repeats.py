"""What comes again and again is said once, and once a minute with how often it came."""

from nextbest.server.log.repeats import AGAIN_S, MESSAGES_MAX, Repeats


def test_a_repeat_is_said_once_a_minute_with_its_count() -> None:
    repeats = Repeats()
    assert repeats.say("away", 0.0) == "away"
    assert not any(repeats.say("away", second / 2) for second in range(1, 120))
    assert repeats.say("full", 30.0) == "full"
    assert repeats.say("away", AGAIN_S) == "away (119 times more since it was said)"
    assert repeats.say("away", AGAIN_S + 0.5) == ""
    assert repeats.say("away", 3 * AGAIN_S) == "away (1 times more since it was said)"


def test_what_is_remembered_is_bounded() -> None:
    repeats = Repeats()
    for number in range(MESSAGES_MAX + 1):
        assert repeats.say(f"{number}", 0.0)
    assert repeats.say("0", 1.0) == "0"
    assert repeats.say(f"{MESSAGES_MAX}", 1.0) == ""
