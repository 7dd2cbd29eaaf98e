"""Experiments: which variant a person gets, and whether the decision read it.

A variant is found when an expression first reads it, so that exposure (it was read) and
assignment (it would be given) differ: who never met the experiment does not count for it.
"""

cdef extern from "decide/bucket.h" nogil:
    uint32_t fnv1a_utf16(uint32_t hash, const char* text, size_t length)
    uint64_t multiply_high(uint64_t a, uint64_t b)


cdef enum:
    FNV_OFFSET = 0x811C9DC5
    BUCKET_STEPS = 100000


cdef enum AssignmentReason:
    ASSIGNMENT_UNKNOWN = 0
    ASSIGNMENT_BUCKETED = 1
    ASSIGNMENT_STICKY = 2
    ASSIGNMENT_HELD_OUT = 3
    ASSIGNMENT_NOT_IN_AUDIENCE = 4
    ASSIGNMENT_NO_KEY = 5
    ASSIGNMENT_NOT_IN_LAYER = 6
    ASSIGNMENT_NOT_COVERED = 7


cdef Text experiment_key(Decision* decision, const BucketingSpec* bucketing) noexcept nogil:
    """The bucketing key: the first that is set; empty when none is."""
    cdef Text key
    cdef Value value
    cdef char* digits
    cdef uint32_t i
    key.data = decision.identity.id
    key.length = decision.identity.length if bucketing.keys_count == 0 else 0
    for i in range(bucketing.keys_count):
        value = decision_input(decision, bucketing.keys[i])
        if value.tag == TAG_STRING and value.length:
            return value_text(&value)
        if value.tag == TAG_INT:
            digits = <char*>arena_take(&decision.machine.arena, 24)
            if digits != NULL:
                key.data = digits
                key.length = <uint32_t>snprintf(digits, 24, "%lld", <long long>value.as_.i)
            return key
    return key


cdef double key_bucket(const BucketingSpec* bucketing, Text key) noexcept nogil:
    """A number from 0 to below 1.

    Versions 1 and 2 are GrowthBook's: fnv32a(key + salt) in 1,000 buckets, and fnv32a of the
    decimal digits of fnv32a(salt + key) in 10,000 (its SDK specification, `hash`).
    """
    cdef char digits[16]
    cdef uint32_t hash
    if bucketing.hash == BUCKET_HASH_XXH3:
        return multiply_high(
            XXH3_64bits_withSeed(key.data, key.length, bucketing.seed), BUCKET_STEPS
        ) / <double>BUCKET_STEPS
    if bucketing.hash == BUCKET_HASH_GROWTHBOOK_1:
        hash = fnv1a_utf16(FNV_OFFSET, key.data, key.length)
        hash = fnv1a_utf16(hash, bucketing.salt.data, bucketing.salt.length)
        return hash % 1000 / 1000.0
    hash = fnv1a_utf16(FNV_OFFSET, bucketing.salt.data, bucketing.salt.length)
    hash = fnv1a_utf16(hash, key.data, key.length)
    hash = fnv1a_utf16(FNV_OFFSET, digits, snprintf(digits, 16, "%u", hash))
    return hash % 10000 / 10000.0


cdef bint held_out(Decision* decision, uint32_t index) noexcept nogil:
    """Whether a holdout keeps the person out; nobody without a bucketing key."""
    cdef const HoldoutSpec* holdout = &decision.playbook.holdouts[index]
    cdef Text key = experiment_key(decision, &holdout.bucketing)
    return key.length and key_bucket(&holdout.bucketing, key) < holdout.share


cdef inline bint in_range(double bucket, const BucketRangeSpec* range) noexcept nogil:
    return range.start <= bucket < range.end


cdef inline const Assignment* assignment_of(Decision* decision, uint32_t index) noexcept nogil:
    """A person's place in an experiment; found once a decision."""
    cdef Assignment* found = &decision.assignments[index]
    if found.reason == ASSIGNMENT_UNKNOWN:
        find_assignment(decision, &decision.playbook.experiments[index], found)
    return found


cdef void find_assignment(
    Decision* decision, const ExperimentSpec* experiment, Assignment* to
) noexcept nogil:
    # Publishing refuses an audience that reads its own experiment.
    to.reason = ASSIGNMENT_NOT_IN_AUDIENCE
    to.variant = sticky_variant(decision, experiment, &to.known)
    if to.variant >= 0:
        to.reason = ASSIGNMENT_STICKY
    else:
        to.reason = assign(decision, experiment, to)


cdef int32_t sticky_variant(
    Decision* decision, const ExperimentSpec* experiment, bint* known
) noexcept nogil:
    """The variant of the person's first exposure, or -1; `known` where there was one at all."""
    cdef Value value
    cdef Text seen
    cdef uint32_t i
    if experiment.sticky < 0 or not decision.person_known:
        return -1
    value = decision_counter(decision, <uint32_t>experiment.sticky)
    if value.tag != TAG_STRING:
        return -1
    known[0] = True
    seen = value_text(&value)
    for i in range(experiment.variants_count):
        if text_equal(experiment.variants[i].name, seen):
            return <int32_t>i
    return -1


cdef uint8_t assign(
    Decision* decision, const ExperimentSpec* experiment, Assignment* to
) noexcept nogil:
    """Find the variant by bucket; the reason why there is or is not one."""
    cdef Text key
    cdef uint32_t i, j
    for i in range(experiment.holdouts.count):
        if held_out(decision, experiment.holdouts.items[i]):
            return ASSIGNMENT_HELD_OUT
    if first_failing(decision, &experiment.audience) >= 0:
        return ASSIGNMENT_NOT_IN_AUDIENCE
    key = experiment_key(decision, &experiment.bucketing)
    if key.length == 0:
        return ASSIGNMENT_NO_KEY
    if experiment.layered and not in_layer(decision, experiment):
        return ASSIGNMENT_NOT_IN_LAYER
    to.bucket = key_bucket(&experiment.bucketing, key)
    for i in range(experiment.variants_count):
        for j in range(experiment.variants[i].ranges_count):
            if in_range(to.bucket, &experiment.variants[i].ranges[j]):
                to.variant = <int32_t>i
                return ASSIGNMENT_BUCKETED
    return ASSIGNMENT_NOT_COVERED


cdef bint in_layer(Decision* decision, const ExperimentSpec* experiment) noexcept nogil:
    cdef Text key = experiment_key(decision, &experiment.layer)
    return key.length and in_range(key_bucket(&experiment.layer, key), &experiment.layer_range)


cdef Value experiment_value(Decision* decision, uint32_t index) noexcept nogil:
    """What an expression reads, which exposes the person; empty for somebody not in it."""
    cdef const ReadingSpec* reading = &decision.playbook.readings[index]
    cdef const Assignment* found = assignment_of(decision, reading.experiment)
    if found.variant < 0:
        return value_string(b"", 0)
    decision.assignments[reading.experiment].exposed = True
    return value_string(
        reading.texts[found.variant].data, reading.texts[found.variant].length
    )


cdef void note_exposures(Decision* decision, Exposures* exposures) noexcept nogil:
    """List whom the decision exposes for the first time, as far as anything keeps it."""
    cdef const Assignment* found
    cdef uint32_t i
    exposures.count = 0
    for i in range(decision.playbook.experiments_count):
        found = &decision.assignments[i]
        # A second one would change nothing: the first counts.
        if found.exposed and not found.known and decision.playbook.experiments[i].sticky >= 0:
            exposures.experiments[exposures.count] = <uint16_t>i
            exposures.variants[exposures.count] = <uint16_t>found.variant
            exposures.count += 1


cdef void write_assignments(
    Decision* decision, Writer* writer, uint32_t field, bint all_of_them
) noexcept nogil:
    """The experiments that the person was exposed to, or all, as nextbest.v1.Assignment."""
    cdef uint32_t i
    for i in range(decision.playbook.experiments_count):
        if all_of_them or decision.assignments[i].exposed:
            write_assignment(decision, writer, field, i)


cdef void write_assignment(
    Decision* decision, Writer* writer, uint32_t field, uint32_t index
) noexcept nogil:
    cdef const ExperimentSpec* experiment = &decision.playbook.experiments[index]
    cdef const Assignment* found = assignment_of(decision, index)
    cdef size_t start = message_open(writer, field)
    write_text(writer, 1, experiment.name)
    if found.variant >= 0:
        write_text(writer, 2, experiment.variants[found.variant].name)
    write_uint(writer, 3, found.exposed)
    write_uint(writer, 4, found.reason)
    if found.reason == ASSIGNMENT_BUCKETED or found.reason == ASSIGNMENT_NOT_COVERED:
        write_double_always(writer, 5, found.bucket)
    message_close(writer, start)


def buckets(salt: str, int hash, keys) -> bytes:
    """The bucket of each key under a salt and a `plan.BucketHash`: doubles, 8 bytes each.

    Raises InvalidRequestError for a hash that there is not, TypeError for a key that is no text.
    """
    cdef BucketingSpec bucketing
    cdef Text key
    salt_bytes = salt.encode()
    if not BUCKET_HASH_GROWTHBOOK_1 <= hash <= BUCKET_HASH_XXH3:
        raise errors.InvalidRequestError("hash", f"{hash}", "1 to 3")
    memset(&bucketing, 0, sizeof(bucketing))
    bucketing.salt.data = <char*>(<bytes>salt_bytes)
    bucketing.salt.length = <uint32_t>len(salt_bytes)
    bucketing.seed = XXH3_64bits(bucketing.salt.data, bucketing.salt.length)
    bucketing.hash = <uint8_t>hash
    found = PyBytes_FromStringAndSize(NULL, len(keys) * sizeof(double))
    cdef double* to = <double*><char*>(<bytes>found)
    cdef Py_ssize_t i, length
    for i, text in enumerate(keys):
        key.data = PyUnicode_AsUTF8AndSize(text, &length)
        key.length = <uint32_t>length
        to[i] = key_bucket(&bucketing, key)
    return found
