"""Consents: what a person allows, by purpose, and where they are not to be contacted, by channel.

Each is a hidden string attribute, as `server/playbook/grants.py` packs it:

    1        the status: 1 granted, 2 denied, 3 revoked
    2 to 19  TIMESTAMP_US_FAR less the expiry, as digits of microseconds; 0 for none
    20       the lawful basis, a digit; 0 for none
    21 on    where it was said

Of two with one stamp the larger text stands, which is the more restrictive one.  What cannot be
read is no consent, and closes a channel.
"""

cdef enum ConsentStatus:
    CONSENT_UNREADABLE = 0
    CONSENT_GRANTED = 1
    CONSENT_DENIED = 2
    CONSENT_REVOKED = 3
    # Of the reading alone.
    CONSENT_UNRECORDED = 4
    CONSENT_EXPIRED = 5
    CONSENT_STALE = 6


cdef enum:
    CONSENT_LEAST = 20
    CONSENT_EXPIRY_DIGITS = 18
    PURPOSE_UNKNOWN = 0
    # And the status.
    PURPOSE_KNOWN = 1
    CHANNEL_UNKNOWN = 0
    CHANNEL_OPEN = 1
    # And the reason that closes it.
    CHANNEL_CLOSED = 2
    CHANNEL_STALE = 255
    # As long as any: two names and the words between them.
    NO_CONSENT_TEXT_MAX = 192


cdef extern from *:
    """
    #define CONSENTS_ALWAYS UINT64_MAX
    """
    const uint64_t CONSENTS_ALWAYS


cdef struct Grounds:
    # What an answer rests on: Person.grounds as it was read, whether consents could hold, when the
    # first of them ends, and the seed that it was drawn with.
    uint64_t person
    bint consents
    int64_t until_us
    uint64_t seed


cdef inline bint consents_ended(uint64_t until_us) noexcept nogil:
    """Whether a revocation that was acknowledged may be missing in what was just read.

    `until_us` was known before the read and the clock is asked after it: a process that sleeps
    anywhere between the two has read while consents held, or is told that they do not.
    """
    return until_us != CONSENTS_ALWAYS and nanoseconds_now() // 1000 >= until_us


cdef const char* STALE_TEXT = "not known here, the node's lease has run out"


cdef struct Consent:
    uint8_t status
    uint8_t basis
    # 0 where it does not end.
    int64_t expires_us
    Text source


cdef Consent consent_of(const Value* value) noexcept nogil:
    """Read what is stored of a consent."""
    cdef Consent consent
    cdef int64_t left
    memset(&consent, 0, sizeof(Consent))
    if value.tag == TAG_NULL:
        consent.status = CONSENT_UNRECORDED
        return consent
    if value.tag != TAG_STRING or value.length < CONSENT_LEAST:
        return consent
    left = consent_left(value.as_.s + 1)
    if left < 0 or not c"1" <= value.as_.s[0] <= c"3":
        return consent
    consent.status = value.as_.s[0] - c"0"
    consent.expires_us = TIMESTAMP_US_FAR - left if left else 0
    consent.basis = <uint8_t>value.as_.s[CONSENT_LEAST - 1] - c"0"
    consent.source.data = value.as_.s + CONSENT_LEAST
    consent.source.length = value.length - CONSENT_LEAST
    return consent


cdef inline int64_t consent_left(const char* digits) noexcept nogil:
    """What the digits of an expiry spell; -1 for others."""
    cdef int64_t left = 0
    cdef uint32_t i
    for i in range(CONSENT_EXPIRY_DIGITS):
        if not c"0" <= digits[i] <= c"9":
            return -1
        left = 10 * left + (digits[i] - c"0")
    return left


cdef inline uint8_t consent_status(const Consent* consent, int64_t now_us) noexcept nogil:
    """The status at a moment: what was granted ends with the microsecond of its expiry."""
    if consent.status == CONSENT_GRANTED and consent.expires_us and now_us >= consent.expires_us:
        return CONSENT_EXPIRED
    return consent.status


cdef uint8_t purpose_status(Decision* decision, uint32_t index) noexcept nogil:
    """How a consent stands at the decision's moment."""
    cdef Value value
    cdef Consent consent
    if decision.consent_stale:
        return CONSENT_STALE
    if decision.purposes[index] == PURPOSE_UNKNOWN:
        value = decision_attribute(decision, decision.playbook.purposes[index].attribute)
        consent = consent_of(&value)
        decision.purposes[index] = PURPOSE_KNOWN + consent_status(&consent, decision.now_us)
        if consent.expires_us > decision.now_us:
            decision.consents_end_us = min(decision.consents_end_us, consent.expires_us)
    return decision.purposes[index] - PURPOSE_KNOWN


cdef Value consent_value(Decision* decision, uint32_t purpose) noexcept nogil:
    """What expressions read as consent.NAME."""
    return value_bool(purpose_status(decision, purpose) == CONSENT_GRANTED)


cdef uint8_t channel_state(Decision* decision, uint32_t index) noexcept nogil:
    """Whether a person may be contacted in a channel: open, or closed by a reason."""
    cdef const ChannelSpec* channel = &decision.playbook.channels[index]
    cdef uint8_t state = CHANNEL_OPEN
    cdef Value value
    cdef Consent consent
    cdef uint32_t i
    if decision.consent_stale and channel.reasons_count:
        return CHANNEL_STALE
    if decision.channels[index] != CHANNEL_UNKNOWN:
        return decision.channels[index]
    for i in range(channel.reasons_count):
        value = decision_attribute(decision, channel.attributes[i])
        consent = consent_of(&value)
        if consent.status != CONSENT_GRANTED and consent.status != CONSENT_UNRECORDED:
            state = CHANNEL_CLOSED + i
            break
    decision.channels[index] = state
    return state


cdef inline bint channel_closed(Decision* decision, int32_t channel) noexcept nogil:
    return channel >= 0 and channel_state(decision, channel) >= CHANNEL_CLOSED


cdef int32_t treatment_closed(
    Decision* decision, const PlacementSpec* placement, const TreatmentSpec* treatment
) noexcept nogil:
    """Where a placement has no channel, the first of a treatment's when all of them are closed;
    else -1."""
    cdef uint32_t i
    if placement.channel.length or treatment.channels_count == 0 or (
        # One of them has no reason to be closed.
        treatment.declared.count < treatment.channels_count
    ):
        return -1
    for i in range(treatment.declared.count):
        if not channel_closed(decision, treatment.declared.items[i]):
            return -1
    return treatment.declared.items[0]


# A candidate that a closed channel drops has it as a negative condition, below -1 for none.
cdef inline int64_t closed_condition(int32_t channel) noexcept nogil:
    return -2 - channel


cdef const char* consent_word(uint8_t status) noexcept nogil:
    if status == CONSENT_UNRECORDED:
        return "not recorded"
    if status == CONSENT_DENIED:
        return "denied"
    if status == CONSENT_REVOKED:
        return "revoked"
    if status == CONSENT_EXPIRED:
        return "expired"
    if status == CONSENT_STALE:
        return STALE_TEXT
    return "not readable"


cdef void write_no_consent(Decision* decision, Writer* writer, int64_t condition) noexcept nogil:
    """What does not hold, as the condition of a CandidateExplanation."""
    cdef char text[NO_CONSENT_TEXT_MAX]
    cdef const PurposeSpec* purpose
    cdef const ChannelSpec* channel
    cdef uint8_t reason
    cdef Text closed_by
    if condition >= 0:
        purpose = decision.playbook.conditions[condition].purpose
        snprintf(
            text, sizeof(text), "consent %.*s: %s", <int>purpose.name.length, purpose.name.data,
            consent_word(
                purpose_status(decision, <uint32_t>(purpose - decision.playbook.purposes))
            ),
        )
    else:
        channel = &decision.playbook.channels[-2 - condition]
        closed_by = text_of(STALE_TEXT)
        if not decision.consent_stale:
            reason = channel_state(decision, <uint32_t>(-2 - condition)) - CHANNEL_CLOSED
            closed_by = channel.reasons[reason]
        snprintf(
            text, sizeof(text), "do not contact %.*s: %.*s",
            <int>channel.name.length, channel.name.data,
            <int>closed_by.length, closed_by.data,
        )
    write_text(writer, 3, text_of(text))


cdef void write_profile_consents(Decision* decision, Writer* writer) noexcept nogil:
    """What was recorded, as the fields of nextbest.v1.Profile."""
    cdef uint32_t i, j
    for i in range(decision.playbook.purposes_count):
        write_purpose(decision, writer, &decision.playbook.purposes[i])
    for i in range(decision.playbook.channels_count):
        for j in range(decision.playbook.channels[i].reasons_count):
            write_channel(decision, writer, &decision.playbook.channels[i], j)


cdef void write_purpose(
    Decision* decision, Writer* writer, const PurposeSpec* purpose
) noexcept nogil:
    """A nextbest.v1.Consent, where one was recorded."""
    cdef Value value = decision_attribute(decision, purpose.attribute)
    cdef Consent consent = consent_of(&value)
    cdef size_t start
    if consent.status == CONSENT_UNRECORDED:
        return
    start = message_open(writer, 9)
    write_text(writer, 1, purpose.name)
    write_uint(writer, 2, consent.status)
    write_uint(writer, 3, consent_status(&consent, decision.now_us) == CONSENT_GRANTED)
    write_uint(writer, 4, consent.basis)
    write_said(decision, writer, 5, purpose.attribute)
    if consent.expires_us:
        write_time(writer, 6, consent.expires_us)
    write_text(writer, 7, consent.source)
    message_close(writer, start)


cdef void write_channel(
    Decision* decision, Writer* writer, const ChannelSpec* channel, uint32_t reason
) noexcept nogil:
    """A nextbest.v1.ChannelConsent, where one was recorded."""
    cdef Value value = decision_attribute(decision, channel.attributes[reason])
    cdef Consent consent = consent_of(&value)
    cdef size_t start
    if consent.status == CONSENT_UNRECORDED:
        return
    start = message_open(writer, 10)
    write_text(writer, 1, channel.name)
    write_text(writer, 2, channel.reasons[reason])
    write_uint(writer, 3, consent.status)
    write_said(decision, writer, 4, channel.attributes[reason])
    write_text(writer, 5, consent.source)
    message_close(writer, start)


cdef void write_said(
    Decision* decision, Writer* writer, uint32_t field, uint32_t attribute
) noexcept nogil:
    """When it was said: the time in the attribute's stamp."""
    cdef uint64_t stamp = person_attribute_stamp(
        decision.person, decision.playbook.attributes[attribute].column
    )
    write_time(writer, field, <int64_t>(stamp >> STAMP_MS_SHIFT) * 1000)
