/* The exponential function that chances are made of. */
#ifndef NEXTBEST_CHANCE_H
#define NEXTBEST_CHANCE_H

#include <math.h>

#if defined(__GNUC__) && !defined(__clang__)
#define NEXTBEST_STEPWISE __attribute__((optimize("fp-contract=off")))
#else
#define NEXTBEST_STEPWISE
#endif

/* exp(x) for x <= 0, within 1e-15 of it, and of the same bits on every processor: libm's differ in
   the last one where fused multiplication is, and a decision must replay on another node. */
NEXTBEST_STEPWISE
static double exp_down(double x) {
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
    /* Taylor's 1/n! for n = 13 to 0; up to ln(2)/2 what is left out is below 1e-17. */
    static const double terms[] = {
        1.0 / 6227020800.0, 1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0,
        1.0 / 40320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0,
    };
    double twos, rest, sum = 0.0;
    unsigned i;
    if (!(x > -745.0)) return 0.0;
    twos = floor(x * 1.4426950408889634 + 0.5);
    /* ln(2) in two parts, the first of so few bits that its multiples are exact. */
    rest = (x - twos * 6.93147180369123816490e-01) - twos * 1.90821492927058770002e-10;
    for (i = 0; i < sizeof(terms) / sizeof(terms[0]); i++) sum = sum * rest + terms[i];
    return ldexp(sum, (int)twos);
}

#endif
