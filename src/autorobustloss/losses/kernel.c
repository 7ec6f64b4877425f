/* The Taylor loss of rows of float32 logits, value and gradient, in one sweep. The formula is that of
   functional.py's `Coefficients`.

   By the vector types of GCC and Clang, as many numbers at a time as the processor holds that this is compiled for. */

#include <math.h>
#include <stdint.h>
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

/* exp(x) for x <= 0, to about 2 units in the last place; 0 below -87, where it would lose digits. NaN stays NaN.
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

#define TEXT(x) #x
#define QUOTED(x) TEXT(x)
/* Of which source this is, so that a stale library is noticed. */
const char *source(void) { return QUOTED(SOURCE); }
