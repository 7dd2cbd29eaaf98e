"""When the calls of an open loop are due, and who they are for."""

cdef enum:
    SCHEDULE_CONSTANT = 0
    SCHEDULE_POISSON = 1
    SCHEDULE_RAMP = 2
    SPREAD_UNIFORM = 0
    SPREAD_ZIPF = 1
    ZIPF_TRIES_MAX = 64


cdef struct Schedule:
    int kind
    double rate  # calls a second; of a ramp the last one
    double rate_from  # of a ramp
    double span_s  # how long a ramp takes
    double at_s  # where a Poisson process stands
    uint64_t number  # of the next call
    uint64_t random


cdef double schedule_next(Schedule* self) noexcept nogil:
    """Seconds from the start to the next call that is due.

    A ramp has sent rate_from * t + (rate - rate_from) * t^2 / (2 * span) calls by the time t.
    """
    cdef double number = <double>self.number
    cdef double slope
    self.number += 1
    if self.kind == SCHEDULE_POISSON:
        self.at_s -= log(next_share(&self.random)) / self.rate
        return self.at_s
    if self.kind == SCHEDULE_RAMP:
        slope = (self.rate - self.rate_from) / self.span_s
        if slope != 0:
            # Falling ramps end: beyond their last call nothing is due.
            slope = self.rate_from * self.rate_from + 2 * slope * number
            if slope < 0:
                return INFINITY
            return 2 * number / (self.rate_from + sqrt(slope))
    return number / self.rate


cdef struct Spread:
    int kind
    uint64_t count
    double exponent
    double area_first  # of Zipf: the integral's value at 1.5, less 1
    double area_last
    double shortcut
    uint64_t random


cdef inline double grown(double x) noexcept nogil:
    """(exp(x) - 1) / x, which is 1 at 0."""
    return expm1(x) / x if fabs(x) > 1e-8 else 1 + x / 2


cdef inline double shrunk(double x) noexcept nogil:
    """log(1 + x) / x, which is 1 at 0."""
    return log1p(x) / x if fabs(x) > 1e-8 else 1 - x / 2


cdef inline double zipf_area(double exponent, double x) noexcept nogil:
    """The integral of x^-exponent."""
    cdef double logarithm = log(x)
    return grown((1 - exponent) * logarithm) * logarithm


cdef inline double zipf_place(double exponent, double area) noexcept nogil:
    """The inverse of `zipf_area`."""
    return exp(shrunk(max(-1.0, area * (1 - exponent))) * area)


cdef void spread_init(
    Spread* self, int kind, uint64_t count, double exponent, uint64_t seed
) noexcept nogil:
    """Ranks 0 to count - 1."""
    self.kind = kind
    self.count = count
    self.exponent = exponent
    self.random = seed
    self.area_first = zipf_area(exponent, 1.5) - 1
    self.area_last = zipf_area(exponent, count + 0.5)
    self.shortcut = 2 - zipf_place(exponent, zipf_area(exponent, 2.5) - pow(2, -exponent))


cdef uint64_t spread_next(Spread* self) noexcept nogil:
    """The next profile's number.

    Zipf's ranks come of rejection-inversion (Hoermann and Derflinger 1996), and are scattered
    over the numbers by a factor prime to all counts, so that neighbours are not popular alike.
    """
    cdef double area
    cdef double place
    cdef uint64_t rank = 1
    cdef int _tries
    if self.kind == SPREAD_UNIFORM:
        return <uint64_t>((next_random(&self.random) >> 32) * self.count >> 32)
    for _tries in range(ZIPF_TRIES_MAX):
        area = self.area_last + next_share(&self.random) * (self.area_first - self.area_last)
        place = zipf_place(self.exponent, area)
        rank = min(max(<uint64_t>(place + 0.5), <uint64_t>1), self.count)
        if rank - place <= self.shortcut:
            break
        if area >= zipf_area(self.exponent, rank + 0.5) - pow(<double>rank, -self.exponent):
            break
    return (rank - 1) * <uint64_t>2654435761 % self.count
