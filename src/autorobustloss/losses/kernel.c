/* Losses of rows of float32 logits, value and gradient: the Taylor loss in one sweep, with the formula of kernel.py's
   `Coefficients`, and the gated loss in two, with that of gated/core.py.

   By the vector types of GCC and Clang, as many numbers at a time as the processor holds that this is compiled for. */

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
#define WIDTH 16
#define COUNT {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
#elif defined(__AVX2__)
#define WIDTH 8
#define COUNT {0, 1, 2, 3, 4, 5, 6, 7}
#else
#define WIDTH 4
#define COUNT {0, 1, 2, 3}
#endif
#define INLINE static inline __attribute__((always_inline))

typedef float floats __attribute__((vector_size(4 * WIDTH)));
typedef int32_t ints __attribute__((vector_size(4 * WIDTH)));
typedef uint32_t bits __attribute__((vector_size(4 * WIDTH)));

enum { OTHERS = 3, LABEL = 4 };
#define NEAR_LOG 0.05f /* up to this q the digits of (p^q - 1)/q come from the logarithm */

/* Coefficients: sum_k G(p_k) + H(p_label) - log_weight * log_q(p_label) + offset. */
typedef struct {
    float others[OTHERS]; /* G: of p^2, p^3, p^4 */
    float label[LABEL];   /* H: of p, ..., p^4 */
    float log_weight, offset, log_power;
} Loss;

INLINE floats all(float value) { return value - (floats){0}; }

INLINE floats choose(ints condition, floats yes, floats no) {
    return (floats)((condition & (ints)yes) | (~condition & (ints)no));
}

/* The first `count` numbers at a place, and `rest` for the others. With `room` enough all are read, and written, at
   once: what lies behind a row is the next row, which is written later. */
INLINE floats load(const float *from, int64_t count, int64_t room, float rest) {
    floats v = all(rest);
    if (room < WIDTH) {
        memcpy(&v, from, (size_t)count * sizeof(float));
    } else {
        memcpy(&v, from, sizeof v);
        if (count < WIDTH) v = choose((ints)COUNT < (int32_t)count, v, all(rest));
    }
    return v;
}

INLINE void store(float *to, floats v, int64_t count, int64_t room) {
    if (room < WIDTH)
        memcpy(to, &v, (size_t)count * sizeof(float));
    else
        memcpy(to, &v, sizeof v);
}

/* In four strands at a time, so that no addition waits for the one before. */
INLINE float sum(floats v) {
    float x[4] = {v[0], v[1], v[2], v[3]};
    for (int i = 4; i < WIDTH; i++) x[i % 4] += v[i];
    return (x[0] + x[1]) + (x[2] + x[3]);
}

INLINE float larger(float a, float b) { return a > b ? a : b; }

INLINE float largest(floats v) {
    float x[4] = {v[0], v[1], v[2], v[3]};
    for (int i = 4; i < WIDTH; i++) x[i % 4] = larger(x[i % 4], v[i]);
    return larger(larger(x[0], x[1]), larger(x[2], x[3]));
}

/* exp(x) for x <= 87, to about 2 units in the last place; 0 below -87, where it would lose digits. NaN stays NaN.
   x = n ln 2 + r, |r| <= ln(2)/2; adding 1.5 * 2^23 rounds to n and leaves it in the lowest bits. */
INLINE floats exp_of(floats x) {
    ints tiny = x < -87.0f;
    x = choose(tiny, all(-87.0f), x);
    floats shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
    floats r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    floats p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    floats power_of_two = (floats)(((bits)shifted + 127u) << 23);
    return choose(tiny, all(0.0f), p * power_of_two);
}

INLINE float row(const float *z, int64_t classes, int64_t y, const Loss *c, float share, int64_t room,
                 float *gradient) {
    floats top = all(-INFINITY);
    for (int64_t k = 0; k < classes; k += WIDTH) {
        floats v = load(z + k, classes - k, room - k, -INFINITY);
        top = choose(v > top, v, top);
    }
    float shift = largest(top);

    floats sum1 = {0}, sum2 = {0}, sum3 = {0}, sum4 = {0};
    for (int64_t k = 0; k < classes; k += WIDTH) {
        floats u = exp_of(load(z + k, classes - k, room - k, -INFINITY) - shift);
        if (gradient) store(gradient + k, u, classes - k, room - k);
        sum1 += u;
        u = choose(u < 1e-9f, all(0.0f), u); /* powers of less change nothing, but are denormal, and slow */
        floats square = u * u;
        sum2 += square;
        sum3 += square * u;
        sum4 += square * square;
    }
    float total = sum(sum1), inverse = 1.0f / total, square = inverse * inverse;
    /* p_k = u_k / total: what G(p_k) adds up to, and p_k G'(p_k). */
    floats second = sum2 * (square * c->others[0]), third = sum3 * (square * inverse * c->others[1]);
    floats fourth = sum4 * (square * square * c->others[2]);
    float value = sum(second + third + fourth) + c->offset;
    float slope = sum(second * 2.0f + third * 3.0f + fourth * 4.0f);

    float p_label = (gradient ? gradient[y] : expf(z[y] - shift)) * inverse, at_label = 0.0f, pull = 0.0f;
    for (int n = LABEL; n--;) {
        at_label = (at_label + c->label[n]) * p_label;
        pull = (pull + (float)(n + 1) * c->label[n]) * p_label;
    }
    value += at_label;
    if (c->log_weight != 0.0f) {
        float q = c->log_power, log_p = z[y] - shift - logf(total), power = q > 0.0f ? expf(q * log_p) : 1.0f;
        value -= c->log_weight * (q > NEAR_LOG ? (power - 1.0f) / q : q > 0.0f ? expm1f(q * log_p) / q : log_p);
        pull -= c->log_weight * power;
    }
    if (gradient) {
        float all_alike = slope + pull;
        for (int64_t k = 0; k < classes; k += WIDTH) {
            floats p = load(gradient + k, classes - k, room - k, 0.0f) * inverse;
            floats base = choose(p < 1e-9f, all(0.0f), p);
            floats terms = base * (2.0f * c->others[0] + base * (3.0f * c->others[1] + base * (4.0f * c->others[2])));
            store(gradient + k, share * (p * (terms - all_alike)), classes - k, room - k);
        }
        gradient[y] += share * pull;
    }
    return value;
}

/* Write the loss of each row, or their mean, and the gradient of what is written unless its place is NULL.
   Returns 0, or 1 when a label is no class or is `ignored`; what is written then means nothing. */
int taylor_loss(const float *logits, const int64_t *labels, int64_t rows, int64_t classes, int64_t ignored,
                const Loss *loss, int mean, float *value, float *gradient) {
    float share = mean ? 1.0f / (float)rows : 1.0f;
    double sum_of_rows = 0.0;
    for (int64_t i = 0; i < rows; i++) {
        int64_t y = labels[i];
        if (y < 0 || y >= classes || y == ignored) return 1;
        float v = row(logits + i * classes, classes, y, loss, share, (rows - i) * classes,
                      gradient ? gradient + i * classes : 0);
        if (mean)
            sum_of_rows += v;
        else
            value[i] = v;
    }
    if (mean) value[0] = (float)(sum_of_rows / (double)rows);
    return 0;
}

/* log(x) for x >= 0, to about 2 units in the last place; -1e20 where x is 0 or denormal.
   x = 2^n (1 + r), sqrt(1/2) <= 1 + r < sqrt(2), and a polynomial in r. */
INLINE floats log_of(floats x) {
    ints none = x < 1.17549435e-38f;
    ints power = (ints)((bits)x >> 23) - 126;
    floats half = (floats)(((bits)x & 0x7fffffu) | 0x3f000000u);
    ints below = half < 0.707106781f;
    floats n = __builtin_convertvector(power + below, floats), r = choose(below, half + half, half) - 1.0f;
    floats square = r * r, p = all(7.0376836292e-2f);
    p = p * r - 1.1514610310e-1f;
    p = p * r + 1.1676998740e-1f;
    p = p * r - 1.2420140846e-1f;
    p = p * r + 1.4249322787e-1f;
    p = p * r - 1.6668057665e-1f;
    p = p * r + 2.0000714765e-1f;
    p = p * r - 2.4999993993e-1f;
    p = p * r + 3.3333331174e-1f;
    p = p * r * square - n * 2.12194440e-4f - 0.5f * square;
    return choose(none, all(-1e20f), r + p + n * 0.693359375f);
}

INLINE floats smaller_of(floats a, floats b) { return choose(a < b, a, b); }
INLINE floats larger_of(floats a, floats b) { return choose(a > b, a, b); }

enum { TERMS = 5 };

typedef struct {
    float q, r, odds, own, pace, smoothing;
    float progress;           /* infinite for an exponent of 1 */
    float terms[TERMS];       /* of u, m, u^2, um, m^2 */
    float smallest;           /* the logarithm of the least belief */
    float label_fading, surprise_fading; /* what a sample leaves of the ones before it */
} Gate;

/* What the loss remembers, of each label and of all samples: see `State`. */
typedef struct {
    float *beliefs, *counts, *labels, *surprise;
} Memory;

/* What is known of the rows, a list of numbers for each thing; lists end in room for a whole vector. */
typedef struct {
    float *label, *other; /* logits of the label and of the strongest other class, the largest being 0 */
    float *rest, *tops;   /* sums of exp(logit) over classes below the largest, and how many share that */
    float *spread;        /* the sum of the logits */
    float *log_b, *belief, *count, *surprise, *ce, *away, *inverse; /* away: 1 - p; inverse: of the sum of exp */
} Rows;
enum { LISTS = 12 };

typedef struct {
    double belief, count;
    int64_t seen;
} Tally;

/* Fill in what row i is, and write exp(logit - largest). Returns whether all of its logits are finite, none masked. */
INLINE int look(const float *z, int64_t classes, int64_t y, int64_t room, Rows rows, int64_t i, float *gradient) {
    floats others = all(-INFINITY);
    for (int64_t k = 0; k < classes; k += WIDTH) {
        floats v = load(z + k, classes - k, room - k, -INFINITY);
        others = choose((v > others) & ((ints)COUNT != (int32_t)(y - k)), v, others);
    }
    float other = largest(others), shift = larger(z[y], other);
    floats rest = {0}, tops = {0}, spread = {0};
    for (int64_t k = 0; k < classes; k += WIDTH) {
        floats v = load(z + k, classes - k, room - k, shift) - shift, u = exp_of(v);
        if (gradient) store(gradient + k, u, classes - k, room - k);
        ints below = v < 0.0f;
        rest += choose(below, u, all(0.0f));
        tops += choose(below, all(0.0f), all(1.0f));
        spread += v;
    }
    rows.label[i] = z[y] - shift;
    rows.other[i] = other - shift;
    rows.rest[i] = sum(rest);
    rows.tops[i] = sum(tops) - (float)((classes + WIDTH - 1) / WIDTH * WIDTH - classes);
    rows.spread[i] = sum(spread);
    return rows.spread[i] >= -1e20f;
}

INLINE floats list(const float *from) {
    floats v;
    memcpy(&v, from, sizeof v);
    return v;
}

/* Beliefs and cross-entropy of WIDTH rows. 1 minus the probability of a largest logit comes from the other classes: near
   1 the difference has no digits left. */
INLINE void believe(Rows rows, int64_t i, float classes, const Gate *g) {
    floats label = list(rows.label + i), other = list(rows.other + i);
    floats others = list(rows.rest + i) + (list(rows.tops + i) - 1.0f), total = others + 1.0f, inverse = 1.0f / total;
    floats log_total = log_of(total), log_p = label - log_total;
    floats p = exp_of(label) * inverse, m = exp_of(other) * inverse;
    ints leads = label >= 0.0f;
    floats u = choose(leads, others * inverse, 1.0f - p);
    floats log_b = {0};
    if (g->q != 0.0f) log_b += g->q * log_p;
    if (g->r != 0.0f) log_b += g->r * larger_of(log_of(choose(leads, 1.0f - m, others * inverse)), log_p);
    if (g->odds != 0.0f) {
        floats gap = other - label, size = choose(gap > 0.0f, gap, -gap);
        log_b -= g->odds * (larger_of(gap, all(0.0f)) + log_of(1.0f + exp_of(-size)));
    }
    const float *c = g->terms;
    log_b += u * (c[0] + c[2] * u + c[3] * m) + m * (c[1] + c[4] * m);
    log_b = smaller_of(larger_of(log_b, all(g->smallest)), all(-g->smallest));
    floats count = exp_of(g->own * log_b), belief = exp_of(log_b) * count, surprise = larger_of(m - p, all(0.0f));
    floats ce = -log_p;
    if (g->smoothing != 0.0f)
        ce = (1.0f - g->smoothing) * ce - g->smoothing * (list(rows.spread + i) / classes - log_total);
    memcpy(rows.log_b + i, &log_b, sizeof log_b);
    memcpy(rows.count + i, &count, sizeof count);
    memcpy(rows.belief + i, &belief, sizeof belief);
    memcpy(rows.surprise + i, &surprise, sizeof surprise);
    memcpy(rows.ce + i, &ce, sizeof ce);
    memcpy(rows.away + i, &u, sizeof u);
    memcpy(rows.inverse + i, &inverse, sizeof inverse);
}

/* Take a batch in. */
static void remember(Memory state, const Rows rows, const int64_t *labels, int64_t count, Tally *tally, const Gate *g) {
    double surprise = 0.0;
    for (int64_t i = 0; i < count; i++) {
        Tally *of = tally + labels[i];
        of->belief += rows.belief[i];
        of->count += rows.count[i];
        of->seen++;
        surprise += rows.surprise[i];
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t y = labels[i];
        Tally *of = tally + y;
        if (!of->seen) continue; /* done */
        double fading = powf(g->label_fading, (float)of->seen);
        state.beliefs[y] = (float)(state.beliefs[y] * fading + of->belief);
        state.counts[y] = (float)(state.counts[y] * fading + of->count);
        state.labels[y] += (float)of->seen;
        of->seen = 0;
    }
    double fading = powf(g->surprise_fading, (float)count);
    state.surprise[0] = (float)(state.surprise[0] * fading + surprise);
    state.surprise[1] = (float)(state.surprise[1] * fading + (double)count);
}

/* Write the weights of the rows. Returns the weighted mean of their cross-entropy. */
static double weigh(Memory state, Rows rows, const int64_t *labels, int64_t count, const Gate *g, float *weights) {
    const float least = 1.17549435e-38f;
    float *mean = rows.belief, *weight = rows.count; /* which are not needed any more */
    float exponent = 1.0f;
    if (g->progress < INFINITY) {
        exponent = g->progress * state.surprise[0] / larger(state.surprise[1], least);
        exponent = exponent > 1.0f ? 1.0f : exponent;
    }
    for (int64_t i = 0; i < count; i++) mean[i] = state.beliefs[labels[i]] / larger(state.counts[labels[i]], least);
    for (int64_t i = 0; i < count; i += WIDTH) {
        floats ratio = list(rows.log_b + i) - larger_of(log_of(list(mean + i)), all(g->smallest));
        floats w = exp_of(smaller_of(ratio, all(0.0f)) * exponent);
        memcpy(weight + i, &w, sizeof w);
    }
    double total = 0.0, value = 0.0;
    float scale = 1.0f;
    if (g->pace != 0.0f) {
        for (int64_t i = 0; i < count; i++) total += weight[i];
        scale = 1.0f / powf(larger((float)(total / (double)count), least), g->pace);
    }
    for (int64_t i = 0; i < count; i++) {
        weights[i] = weight[i] * scale;
        value += (double)weights[i] * rows.ce[i];
    }
    return value / (double)count;
}

/* Make weight * (softmax - target) of what `look` has written of a row. */
INLINE void pull(float *gradient, int64_t classes, int64_t y, int64_t room, float share, float away, float inverse,
                 float smoothing) {
    float factor = share * inverse, least = share * (smoothing / (float)classes);
    for (int64_t k = 0; k < classes; k += WIDTH) {
        floats u = load(gradient + k, room - k, room - k, 0.0f), v = u * factor - least;
        if (classes - k < WIDTH) v = choose((ints)COUNT < (int32_t)(classes - k), v, u); /* the next row is there */
        store(gradient + k, v, classes - k, room - k);
    }
    gradient[y] = share * (smoothing - away) - least;
}

/* Write the weights of the rows, the mean of weight * cross-entropy, and its gradient unless its place is NULL. With
   `learns` the batch is taken into the memory first: beliefs, counts and labels, one of each class, and the surprise.
   Returns 0, or 1 when a label is no class or is `ignored`, a logit is masked or no number, or memory is short: what is
   remembered is then as before, and what is written means nothing. */
int gated_loss(const float *logits, const int64_t *labels, int64_t rows, int64_t classes, int64_t ignored,
               const Gate *gate, float *memory, int learns, float *weights, float *value, float *gradient) {
    Memory state = {memory, memory + classes, memory + 2 * classes, memory + 3 * classes};
    int64_t length = (rows + WIDTH - 1) / WIDTH * WIDTH;
    float *lists = calloc((size_t)(LISTS * length), sizeof(float));
    Tally *tally = learns ? calloc((size_t)classes, sizeof(Tally)) : NULL;
    int failed = !lists || (learns && !tally);
    if (!failed) {
        float *const l = lists;
        const int64_t n = length;
        Rows of = {l,         l + n,     l + 2 * n, l + 3 * n, l + 4 * n,  l + 5 * n,
                   l + 6 * n, l + 7 * n, l + 8 * n, l + 9 * n, l + 10 * n, l + 11 * n};
        for (int64_t i = 0; i < rows && !failed; i++) {
            int64_t y = labels[i], at = i * classes;
            failed = y < 0 || y >= classes || y == ignored ||
                     !look(logits + at, classes, y, (rows - i) * classes, of, i, gradient ? gradient + at : NULL);
        }
        if (!failed) {
            for (int64_t i = 0; i < rows; i += WIDTH) believe(of, i, (float)classes, gate);
            if (learns) remember(state, of, labels, rows, tally, gate);
            value[0] = (float)weigh(state, of, labels, rows, gate, weights);
            for (int64_t i = 0; i < rows && gradient; i++)
                pull(gradient + i * classes, classes, labels[i], (rows - i) * classes, weights[i] / (float)rows,
                     of.away[i], of.inverse[i], gate->smoothing);
        }
    }
    free(tally);
    free(lists);
    return failed;
}

#define TEXT(x) #x
#define QUOTED(x) TEXT(x)
/* Of which source this is, so that a stale library is noticed. */
const char *source(void) { return QUOTED(SOURCE); }
