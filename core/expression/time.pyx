# Timestamps and durations: ranges, civil fields, zones and their texts.

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t


cdef int64_t TIMESTAMP_MIN_S = -62135596800  # 0001-01-01T00:00:00Z
cdef int64_t TIMESTAMP_MAX_S = 253402300799  # 9999-12-31T23:59:59Z
cdef int64_t DURATION_MAX_S = 315576000000  # 10,000 years
cdef int64_t ARITHMETIC_MAX_S = 9223372036  # durations of 64-bit nanoseconds
cdef int64_t DAY_S = 86400
cdef int64_t CYCLE_S = 146097 * 86400  # 400 years, after which the calendar repeats
# Zones list their transitions up to here; later moments are moved back by whole cycles.
cdef int64_t ZONE_END_S = 16725225600  # 2500-01-01T00:00:00Z
cdef int64_t NANO = 1000000000
cdef int64_t TICKS = 4  # parts of a nanosecond that cel-cpp tells apart when it reads a text

cdef enum Part:
    PART_FULL_YEAR = 0
    PART_MONTH = 1
    PART_DATE = 2
    PART_DAY_OF_MONTH = 3
    PART_DAY_OF_WEEK = 4
    PART_DAY_OF_YEAR = 5
    PART_HOURS = 6
    PART_MINUTES = 7
    PART_SECONDS = 8
    PART_MILLISECONDS = 9

cdef extern from * nogil:
    ctypedef long long int128 "__int128"

cdef struct Civil:
    int64_t year
    int month  # 1..12
    int day  # 1..31
    int day_of_year  # 0..365


cdef inline int64_t floor_divide(int64_t a, int64_t b) noexcept nogil:
    cdef int64_t quotient = a // b
    return quotient - 1 if a % b < 0 else quotient


cdef int64_t days_from_civil(int64_t year, int month, int day) noexcept nogil:
    """Days since 1970 of a date; any day number is taken."""
    cdef int64_t y = year - 1 if month <= 2 else year
    cdef int64_t era = floor_divide(y, 400)
    cdef int64_t of_era = y - era * 400
    cdef int64_t of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


cdef Civil civil_from_days(int64_t days) noexcept nogil:
    cdef Civil civil
    cdef int64_t shifted = days + 719468
    cdef int64_t era = floor_divide(shifted, 146097)
    cdef int64_t of_era = shifted - era * 146097
    cdef int64_t year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    cdef int64_t of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef int64_t month = (5 * of_year + 2) // 153
    civil.day = <int>(of_year - (153 * month + 2) // 5 + 1)
    civil.month = <int>(month + 3 if month < 10 else month - 9)
    civil.year = year + era * 400 + (1 if civil.month <= 2 else 0)
    civil.day_of_year = <int>(days - days_from_civil(civil.year, 1, 1))
    return civil


cdef Value timestamp_checked(int64_t seconds, int64_t nanos) noexcept nogil:
    if seconds < TIMESTAMP_MIN_S or seconds > TIMESTAMP_MAX_S:
        return value_error(ERROR_RANGE, SLOT_NONE)
    return value_time(TAG_TIMESTAMP, seconds, <uint32_t>nanos)


cdef inline bint duration_arithmetic(int64_t seconds, int64_t nanos) noexcept nogil:
    """Whether a duration fits 64-bit nanoseconds, as CEL's arithmetic on durations needs."""
    cdef int128 total = <int128>seconds * NANO + nanos
    return -<int128>INT64_MAX - 1 <= total <= <int128>INT64_MAX


cdef Value add_times(Value a, Value b, int sign) noexcept nogil:
    """a + b or a - b, where at least `a` is a time; the tags are already known to fit."""
    cdef int64_t seconds = a.as_.i + sign * b.as_.i
    cdef int64_t nanos = <int64_t>a.length + sign * <int64_t>b.length
    if nanos >= NANO:
        nanos -= NANO
        seconds += 1
    elif nanos < 0:
        nanos += NANO
        seconds -= 1
    if a.tag != b.tag:
        return timestamp_checked(seconds, nanos)
    if a.tag == TAG_DURATION and not (duration_arithmetic(a.as_.i, a.length)
                                      and duration_arithmetic(b.as_.i, b.length)):
        return value_error(ERROR_OVERFLOW, SLOT_NONE)
    if not duration_arithmetic(seconds, nanos):
        return value_error(ERROR_OVERFLOW, SLOT_NONE)
    return value_time(TAG_DURATION, seconds, <uint32_t>nanos)


cdef int64_t zone_offset(const Value* zone, int64_t seconds) noexcept nogil:
    """Seconds east of UTC; a zone is an int or a list of (from, offset) in order."""
    cdef uint32_t low = 0
    cdef uint32_t high
    cdef uint32_t middle
    if zone == NULL:
        return 0
    if zone.tag == TAG_INT:
        return zone.as_.i
    if seconds >= ZONE_END_S:
        seconds -= ((seconds - ZONE_END_S) // CYCLE_S + 1) * CYCLE_S
    high = zone.length // 2
    # The first entry holds for all time before the second.
    while high - low > 1:
        middle = (low + high) // 2
        if zone.as_.items[2 * middle].as_.i <= seconds:
            low = middle
        else:
            high = middle
    return zone.as_.items[2 * low + 1].as_.i


cdef Value timestamp_part(Value time, int part, const Value* zone) noexcept nogil:
    cdef int64_t local = time.as_.i + zone_offset(zone, time.as_.i)
    cdef int64_t days = floor_divide(local, DAY_S)
    cdef int64_t of_day = local - days * DAY_S
    cdef Civil civil
    if part == PART_HOURS:
        return value_int(of_day // 3600)
    if part == PART_MINUTES:
        return value_int(of_day // 60 % 60)
    if part == PART_SECONDS:
        return value_int(of_day % 60)
    if part == PART_MILLISECONDS:
        return value_int(time.length // 1000000)
    if part == PART_DAY_OF_WEEK:
        return value_int((days % 7 + 11) % 7)
    civil = civil_from_days(days)
    if part == PART_FULL_YEAR:
        return value_int(civil.year)
    if part == PART_MONTH:
        return value_int(civil.month - 1)
    if part == PART_DATE:
        return value_int(civil.day)
    if part == PART_DAY_OF_MONTH:
        return value_int(civil.day - 1)
    return value_int(civil.day_of_year)


cdef Value duration_part(Value span, int part) noexcept nogil:
    """Whole hours, minutes or seconds towards zero; milliseconds only of the second."""
    cdef int64_t seconds = span.as_.i
    cdef int64_t nanos = span.length
    if seconds < 0 and nanos > 0:
        seconds += 1
        nanos -= NANO
    if part == PART_HOURS:
        return value_int(seconds // 3600)
    if part == PART_MINUTES:
        return value_int(seconds // 60)
    if part == PART_SECONDS:
        return value_int(seconds)
    if part == PART_MILLISECONDS:
        return value_int(nanos // 1000000)
    return value_error(ERROR_NO_OVERLOAD, SLOT_NONE)


cdef struct Cursor:
    const char* at
    const char* end


cdef inline bint take_byte(Cursor* cursor, char byte) noexcept nogil:
    if cursor.at < cursor.end and cursor.at[0] == byte:
        cursor.at += 1
        return True
    return False


cdef int take_number(Cursor* cursor, int digits_min, int digits_max, int64_t* out) noexcept nogil:
    """Read a number of so many digits; its digits, 0 when there are too few."""
    cdef int digits = 0
    out[0] = 0
    while digits < digits_max and cursor.at < cursor.end and 48 <= cursor.at[0] <= 57:
        out[0] = out[0] * 10 + (cursor.at[0] - 48)
        cursor.at += 1
        digits += 1
    return digits if digits >= digits_min else 0


cdef int take_fraction(Cursor* cursor, int64_t* nanos) noexcept nogil:
    """Read the digits after a point as nanoseconds, cut after nine."""
    cdef int digits = take_number(cursor, 1, 9, nanos)
    if digits == 0:
        return 0
    for _ in range(digits, 9):
        nanos[0] *= 10
    while cursor.at < cursor.end and 48 <= cursor.at[0] <= 57:
        cursor.at += 1
    return digits


cdef bint take_offset(Cursor* cursor, int64_t* offset) noexcept nogil:
    """Read Z, +hh:mm, +hhmm or +hh."""
    cdef int64_t hours = 0
    cdef int64_t minutes = 0
    cdef int sign = 1
    if take_byte(cursor, c"Z") or take_byte(cursor, c"z"):
        offset[0] = 0
        return True
    if take_byte(cursor, c"-"):
        sign = -1
    elif not take_byte(cursor, c"+"):
        return False
    if not take_number(cursor, 2, 2, &hours) or hours > 23:
        return False
    if cursor.at < cursor.end:
        take_byte(cursor, c":")
        if not take_number(cursor, 2, 2, &minutes) or minutes > 59:
            return False
    offset[0] = sign * (hours * 3600 + minutes * 60)
    return True


cdef inline bint is_leap(int64_t year) noexcept nogil:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


cdef int month_days(int64_t year, int64_t month) noexcept nogil:
    if month == 2:
        return 29 if is_leap(year) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


cdef bint take_date(Cursor* cursor, int64_t* days) noexcept nogil:
    cdef int64_t year, month, day
    if not take_number(cursor, 4, 5, &year) or not take_byte(cursor, c"-"):
        return False
    if not take_number(cursor, 1, 2, &month) or not take_byte(cursor, c"-"):
        return False
    if not take_number(cursor, 1, 2, &day):
        return False
    if not 1 <= month <= 12 or not 1 <= day <= month_days(year, month):
        return False
    days[0] = days_from_civil(year, <int>month, <int>day)
    return True


cdef bint take_clock(Cursor* cursor, int64_t* seconds, int64_t* nanos) noexcept nogil:
    cdef int64_t hour, minute, second
    if not take_number(cursor, 1, 2, &hour) or not take_byte(cursor, c":"):
        return False
    if not take_number(cursor, 1, 2, &minute) or not take_byte(cursor, c":"):
        return False
    if not take_number(cursor, 1, 2, &second) or hour > 23 or minute > 59 or second > 60:
        return False
    nanos[0] = 0
    if take_byte(cursor, c".") and not take_fraction(cursor, nanos):
        return False
    if second == 60:
        # A leap second is the first moment of the next minute.
        nanos[0] = 0
    seconds[0] = hour * 3600 + minute * 60 + second
    return True


cdef inline bint is_blank(char byte) noexcept nogil:
    return byte == 32 or 9 <= byte <= 13


cdef Cursor stripped(Value text) noexcept nogil:
    cdef Cursor cursor
    cursor.at = text.as_.s
    cursor.end = text.as_.s + text.length
    while cursor.at < cursor.end and is_blank(cursor.at[0]):
        cursor.at += 1
    while cursor.at < cursor.end and is_blank((cursor.end - 1)[0]):
        cursor.end -= 1
    return cursor


cdef Value timestamp_from_text(Value text) noexcept nogil:
    """RFC 3339; the year 1 to 9999."""
    cdef Cursor cursor = stripped(text)
    cdef int64_t days, seconds, nanos, offset
    if not take_date(&cursor, &days):
        return value_error(ERROR_CONVERSION, SLOT_NONE)
    if not take_byte(&cursor, c"T") and not take_byte(&cursor, c"t"):
        return value_error(ERROR_CONVERSION, SLOT_NONE)
    if not take_clock(&cursor, &seconds, &nanos) or not take_offset(&cursor, &offset):
        return value_error(ERROR_CONVERSION, SLOT_NONE)
    if cursor.at != cursor.end:
        return value_error(ERROR_CONVERSION, SLOT_NONE)
    return timestamp_checked(days * DAY_S + seconds - offset, nanos)


cdef int64_t take_unit(Cursor* cursor) noexcept nogil:
    """Read a unit of time, in nanoseconds; 0 when there is none."""
    cdef int64_t unit = 0
    if take_byte(cursor, c"h"):
        return 3600 * NANO
    if take_byte(cursor, c"s"):
        return NANO
    if take_byte(cursor, c"m"):
        return 1000000 if take_byte(cursor, c"s") else 60 * NANO
    if take_byte(cursor, c"u"):
        unit = 1000
    elif take_byte(cursor, c"n"):
        unit = 1
    return unit if unit and take_byte(cursor, c"s") else 0


cdef bint take_span(Cursor* cursor, int128* ticks) noexcept nogil:
    """Read one number with its unit, cut to ticks of a quarter of a nanosecond."""
    cdef int64_t whole, fraction = 0
    cdef int64_t unit
    cdef int digits = take_number(cursor, 1, 18, &whole)
    cdef int after = 0
    cdef int64_t scale = 1
    if take_byte(cursor, c"."):
        after = take_number(cursor, 1, 15, &fraction)
        while cursor.at < cursor.end and 48 <= cursor.at[0] <= 57:
            cursor.at += 1
    if digits == 0 and after == 0:
        return False
    unit = take_unit(cursor)
    if unit == 0:
        return False
    for _ in range(after):
        scale *= 10
    ticks[0] += <int128>whole * unit * TICKS + <int128>fraction * unit * TICKS // scale
    return True


cdef Value duration_from_text(Value text) noexcept nogil:
    """Numbers with h, m, s, ms, us or ns: "1h30m", "-1.5s", "0"; up to 10,000 years."""
    cdef Cursor cursor
    cdef int128 ticks = 0
    cdef int128 nanos
    cdef int64_t seconds
    cdef bint negative
    cursor.at = text.as_.s
    cursor.end = text.as_.s + text.length
    negative = take_byte(&cursor, c"-")
    if not negative:
        take_byte(&cursor, c"+")
    if cursor.end - cursor.at == 1 and cursor.at[0] == c"0":
        return value_time(TAG_DURATION, 0, 0)
    if cursor.at == cursor.end:
        return value_error(ERROR_CONVERSION, SLOT_NONE)
    while cursor.at < cursor.end:
        if not take_span(&cursor, &ticks):
            return value_error(ERROR_CONVERSION, SLOT_NONE)
        if ticks >= <int128>(DURATION_MAX_S + 1) * NANO * TICKS:
            return value_error(ERROR_RANGE, SLOT_NONE)
    nanos = -(ticks // TICKS) if negative else ticks // TICKS
    seconds = <int64_t>(nanos // NANO)
    nanos -= <int128>seconds * NANO
    if nanos < 0:
        return value_time(TAG_DURATION, seconds - 1, <uint32_t>(nanos + NANO))
    return value_time(TAG_DURATION, seconds, <uint32_t>nanos)


cdef int write_number(char* out, uint64_t number, int digits_min) noexcept nogil:
    cdef char reversed[20]
    cdef int digits = 0
    cdef int i
    while number or digits < digits_min:
        reversed[digits] = <char>(48 + number % 10)
        number //= 10
        digits += 1
    for i in range(digits):
        out[i] = reversed[digits - 1 - i]
    return digits


cdef int write_fraction(char* out, uint32_t nanos) noexcept nogil:
    """Nothing, or a point and three, six or nine digits."""
    if nanos == 0:
        return 0
    out[0] = c"."
    if nanos % 1000000 == 0:
        return 1 + write_number(out + 1, nanos // 1000000, 3)
    if nanos % 1000 == 0:
        return 1 + write_number(out + 1, nanos // 1000, 6)
    return 1 + write_number(out + 1, nanos, 9)


cdef int write_timestamp(char* out, Value time) noexcept nogil:
    cdef int64_t days = floor_divide(time.as_.i, DAY_S)
    cdef int64_t of_day = time.as_.i - days * DAY_S
    cdef Civil civil = civil_from_days(days)
    cdef int at = write_number(out, civil.year, 4)
    out[at] = c"-"
    at += 1 + write_number(out + at + 1, civil.month, 2)
    out[at] = c"-"
    at += 1 + write_number(out + at + 1, civil.day, 2)
    out[at] = c"T"
    at += 1 + write_number(out + at + 1, of_day // 3600, 2)
    out[at] = c":"
    at += 1 + write_number(out + at + 1, of_day // 60 % 60, 2)
    out[at] = c":"
    at += 1 + write_number(out + at + 1, of_day % 60, 2)
    at += write_fraction(out + at, time.length)
    out[at] = c"Z"
    return at + 1


cdef int write_duration(char* out, Value span) noexcept nogil:
    cdef int64_t seconds = span.as_.i
    cdef int64_t nanos = span.length
    cdef int at = 0
    if seconds < 0:
        out[0] = c"-"
        at = 1
        if nanos > 0:
            seconds += 1
            nanos = NANO - nanos
        seconds = -seconds
    at += write_number(out + at, seconds, 1)
    at += write_fraction(out + at, <uint32_t>nanos)
    out[at] = c"s"
    return at + 1
